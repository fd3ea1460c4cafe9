//! Enrolment: the controller binds this instance, this boot and this key to a name, once.

use portcullis::{
    api::{self, ENROL_PAYLOAD_TYPE},
    signature::SigningKey,
};

use crate::{
    controller::{Controller, ControllerError, signed},
    state::{Binding, Whom},
};

/// Asks for a binding. Idempotent for the same key: when in doubt, ask again.
pub(crate) async fn enrol(
    controller: &Controller,
    key: &SigningKey,
    whom: &Whom,
    evidence: api::Identity,
) -> Result<Binding, ControllerError> {
    let message = api::Enrol {
        audience: whom.audience.clone(),
        instance: whom.instance.clone(),
        boot_id: whom.boot_id.clone(),
        public_key: key.public().to_pem(),
        evidence,
    };
    // The first challenge that comes with it is not used: one that is asked for just before the checking proves more.
    let enrolled = controller.enrol(signed(ENROL_PAYLOAD_TYPE, &message, key)).await?;
    tracing::info!("enrolled as instance {} in boot {}", whom.instance, whom.boot_id);
    Ok(Binding { whom: whom.clone(), binding: enrolled.binding })
}
