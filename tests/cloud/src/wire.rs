//! AWS's Query protocol: a form in, XML out. Faults strike here, so that methods called directly are never disturbed.

mod params;
mod xml;

pub(crate) use params::Params;
pub(crate) use params::{Text, integer_in};
pub(crate) use xml::Xml;

use crate::api::{self, Operation, Service};
use crate::error::ApiError;
use crate::event::What;
use crate::fault::{Asked, Fate};
use crate::model::Cloud;

/// The answer to a call, and what becomes of it on the way back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The XML.
    pub body: String,
    /// The connection drops instead of answering.
    pub lost: bool,
    /// The answer is held back this long, in real milliseconds.
    pub delay_ms: u64,
}

/// Answers one call, given as an urlencoded form, through the token bucket and the ordered faults.
pub fn call(cloud: &mut Cloud, form: &[u8]) -> Reply {
    call_signed(cloud, form, None)
}

/// The same, signed with an access key of this id. The signature itself nobody looks at.
pub(crate) fn call_signed(cloud: &mut Cloud, form: &[u8], signer: Option<&str>) -> Reply {
    let request_id = cloud.random.uuid();
    let params = match Params::parse(form) {
        Ok(params) => params,
        Err(error) => return reply(Service::AutoScaling, "", &request_id, Err(error)),
    };
    let service = Service::of_version(params.text("Version").unwrap_or_default());
    let action = params.text("Action").unwrap_or_default().to_owned();
    let Some(operation) = api::find(service, &action) else {
        let message = format!("Could not find operation {action} for version {}", service.version());
        return reply(service, &action, &request_id, Err(ApiError::sender("InvalidAction", message)));
    };
    let asked = Asked { action: &action, group: params.text("AutoScalingGroupName"), signer };
    let fate = if cloud.take_token() { cloud.faults.fate(asked) } else { Fate::Throttle };
    let mut answer =
        reply(service, &action, &request_id, suffer(cloud, operation, &Signed { params: &params, signer }, fate));
    answer.lost = matches!(fate, Fate::LoseRequest | Fate::LoseAnswer);
    if let Fate::DelayAnswer(delay_ms) = fate {
        answer.delay_ms = delay_ms.min(ANSWER_DELAY_MAX_MS);
    }
    answer
}

/// What is asked, and by whom.
struct Signed<'a> {
    params: &'a Params,
    signer: Option<&'a str>,
}

fn suffer(cloud: &mut Cloud, operation: &Operation, asked: &Signed<'_>, fate: Fate) -> Result<String, ApiError> {
    match fate {
        Fate::Throttle => refuse(cloud, operation, asked, ApiError::throttled()),
        Fate::Unavailable => refuse(cloud, operation, asked, ApiError::internal()),
        Fate::Deny => refuse(cloud, operation, asked, ApiError::denied(operation.name)),
        Fate::Expired => refuse(cloud, operation, asked, ApiError::expired()),
        Fate::LoseRequest => Err(ApiError::internal()),
        Fate::Duplicate => apply(cloud, operation, asked).and(apply(cloud, operation, asked)),
        Fate::Normal | Fate::LoseAnswer | Fate::DelayAnswer(_) => apply(cloud, operation, asked),
    }
}

fn refuse(cloud: &mut Cloud, operation: &Operation, asked: &Signed<'_>, error: ApiError) -> Result<String, ApiError> {
    log_call(cloud, operation, asked, Some(error.code));
    Err(error)
}

fn apply(cloud: &mut Cloud, operation: &Operation, asked: &Signed<'_>) -> Result<String, ApiError> {
    let mut xml = Xml::default();
    let outcome = (operation.run)(cloud, asked.params, &mut xml);
    log_call(cloud, operation, asked, outcome.as_ref().err().map(|error| error.code));
    outcome.map(|()| xml.into_string())
}

fn log_call(cloud: &mut Cloud, operation: &Operation, asked: &Signed<'_>, code: Option<&'static str>) {
    let params = asked.params;
    let mut instances: Vec<String> = params.list("InstanceIds").into_iter().map(str::to_owned).collect();
    instances.extend(params.text("InstanceId").map(str::to_owned));
    instances.truncate(LOGGED_INSTANCES_MAX);
    cloud.tell(What::Called {
        action: operation.name.to_owned(),
        group: params.text("AutoScalingGroupName").map(str::to_owned),
        instances,
        result: params.text("LifecycleActionResult").map(str::to_owned),
        code,
        signer: asked.signer.map(str::to_owned),
    });
}

/// Wraps a result or an error as the service does.
fn reply(service: Service, action: &str, request_id: &str, outcome: Result<String, ApiError>) -> Reply {
    let mut xml = Xml::default();
    let status = match outcome {
        Ok(result) => {
            xml.root(&format!("{action}Response"), service.namespace(), |xml| {
                xml.raw(&format!("{action}Result"), &result);
                xml.element("ResponseMetadata", |xml| xml.text("RequestId", request_id));
            });
            200
        }
        Err(error) => {
            xml.root("ErrorResponse", service.namespace(), |xml| {
                xml.element("Error", |xml| {
                    xml.text("Type", if error.status < 500 { "Sender" } else { "Receiver" });
                    xml.text("Code", error.code);
                    xml.text("Message", &error.message);
                });
                xml.text("RequestId", request_id);
            });
            error.status
        }
    };
    Reply { status, body: xml.into_string(), lost: false, delay_ms: 0 }
}

impl Cloud {
    /// Takes a token from the bucket; true when there was one or there is no bucket.
    fn take_token(&mut self) -> bool {
        let Some(rate) = self.options.rate else { return true };
        let earned = (self.now_ms - self.tokens.counted_ms).saturating_mul(u64::from(rate.per_second));
        let left = self.tokens.left_thousandths.saturating_add(earned).min(u64::from(rate.burst) * 1_000);
        let taken = left.checked_sub(1_000);
        (self.tokens.left_thousandths, self.tokens.counted_ms) = (taken.unwrap_or(left), self.now_ms);
        taken.is_some()
    }
}

/// An ordered delay never holds a connection longer than this.
const ANSWER_DELAY_MAX_MS: u64 = 120_000;

/// Instance ids written down per call.
const LOGGED_INSTANCES_MAX: usize = 100;
