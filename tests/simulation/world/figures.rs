//! What a run came to.

macro_rules! figures {
    (counted: $($counted:ident)*, covered: $($covered:ident)*) => {
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Figures {
            $(pub(crate) $counted: u64,)*
            $(pub(crate) $covered: u64,)*
        }

        impl Figures {
            pub(crate) const fn and(self, other: Self) -> Self {
                Self {
                    $($counted: self.$counted + other.$counted,)*
                    $($covered: self.$covered + other.$covered,)*
                }
            }

            /// Whether what it is all about happened at all.
            pub(crate) const fn covers(&self) -> bool {
                $(self.$covered > 0)&&*
            }
        }
    };
}

figures! {
    counted: steps turns virtual_s timed_out,
    covered: admitted given_up crashes faults lies roots_replaced words on_a_word told withdrawn returned frozen by_hand restarts held_again protected released scaled_in clocks_set warmed attached bypassed outdated
}
