//! The queue of notices: SQS.

use std::time::Duration;

use aws_config::{SdkConfig, timeout::TimeoutConfig};
use aws_sdk_autoscaling::error::DisplayErrorContext;
use aws_sdk_sqs::{Client, types::DeleteMessageBatchRequestEntry};
use portcullis::text;

use super::super::Pending;
use crate::sources::lifecycle_queue::{Message, Queue};

/// One queue.
#[derive(Debug, Clone)]
pub(super) struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// A queue's URL says where its service is.
    pub(super) fn new(config: &SdkConfig, url: &str) -> Self {
        let origin: Vec<_> = url.splitn(4, '/').take(3).collect();
        let timeouts = TimeoutConfig::builder().connect_timeout(super::CONNECT_TIMEOUT).operation_timeout(RECEIVE_MAX);
        let config = aws_sdk_sqs::config::Builder::from(config)
            .endpoint_url(origin.join("/"))
            .timeout_config(timeouts.build())
            .build();
        Self { client: Client::from_conf(config), url: url.into() }
    }
}

impl Queue for SqsQueue {
    fn receive(&self) -> Pending<'_, Result<Vec<Message>, String>> {
        Box::pin(async move {
            let request = self.client.receive_message().queue_url(&self.url).wait_time_seconds(WAIT_S);
            let sent = request.max_number_of_messages(BATCH_MAX).send().await;
            let sent = sent.map_err(|error| text::visible(&DisplayErrorContext(error).to_string()))?;
            let message = |message: aws_sdk_sqs::types::Message| {
                Some(Message { handle: message.receipt_handle?, body: message.body.unwrap_or_default() })
            };
            Ok(sent.messages.unwrap_or_default().into_iter().filter_map(message).collect())
        })
    }

    fn delete<'a>(&'a self, handles: &'a [String]) -> Pending<'a, Result<(), String>> {
        Box::pin(async move {
            let entry = |(index, handle): (usize, &String)| {
                DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(handle).build()
            };
            let entries: Result<Vec<_>, _> = handles.iter().enumerate().map(entry).collect();
            let entries = entries.map_err(|error| error.to_string())?;
            let sent = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
            let sent = sent.map_err(|error| text::visible(&DisplayErrorContext(error).to_string()))?;
            let failed: Vec<_> = sent.failed().iter().map(|failed| failed.code().to_owned()).collect();
            if failed.is_empty() { Ok(()) } else { Err(text::visible(&failed.join(", "))) }
        })
    }
}

/// SQS's longest: the fewest requests.
const WAIT_S: i32 = 20;
/// SQS's most, also for one deletion.
const BATCH_MAX: i32 = 10;
/// The wait, and a slow line.
const RECEIVE_MAX: Duration = Duration::from_secs(30);
