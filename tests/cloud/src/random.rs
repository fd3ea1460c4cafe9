//! Identifiers and tokens from a seed: the same seed and the same calls give the same cloud.

/// SplitMix64: small, full period, and good enough for names. It keeps no secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator that always gives the same sequence for the same `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An instance id as EC2 makes them: `i-` and 17 hexadecimal digits.
    pub(crate) fn instance_id(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!("i-0{:08x}{:08x}", high >> 32, low >> 32)
    }

    /// A token or request id in the shape of a UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }

    /// Sixteen hexadecimal digits, as at the end of a target group's ARN.
    pub(crate) fn hex16(&mut self) -> String {
        format!("{:016x}", self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_awss_shape_and_repeat_with_the_seed() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        let (id, token) = (one.instance_id(), one.uuid());
        assert_eq!((id.len(), &id[..2], token.len()), (19, "i-", 36));
        assert_eq!((id, token), (two.instance_id(), two.uuid()));
    }
}
