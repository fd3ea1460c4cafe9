//! Paging: a token names what the last page ended with, so that pages stay right while things come and go.

use crate::error::ApiError;
use crate::wire::{Params, Text, Xml, integer_in};

/// A page of an answer.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Asks for the next page; `None` on the last.
    pub next_token: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// The most items; `None` is the call's default.
    pub max_records: Option<u32>,
    /// From the page before.
    pub next_token: Option<String>,
}

/// A call's limits for `MaxRecords`.
pub(crate) struct PageLimits {
    pub(crate) default: u32,
    pub(crate) max: u32,
}

impl PageRequest {
    pub(crate) fn parse(params: &Params) -> Result<Self, ApiError> {
        let max_records = params.integer("MaxRecords")?;
        Ok(Self {
            max_records: max_records
                .map(|value| integer_in("MaxRecords", value, 1, i64::from(i32::MAX)))
                .transpose()?,
            next_token: params.limited("NextToken", &TOKEN)?.map(str::to_owned),
        })
    }

    /// Cuts the page out of all items, which are in the order of `key`.
    pub(crate) fn cut<T>(
        &self,
        items: Vec<T>,
        limits: &PageLimits,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, ApiError> {
        let size = self.max_records.unwrap_or(limits.default);
        let size = integer_in("MaxRecords", i64::from(size), 1, i64::from(limits.max))? as usize;
        let mut items = items.into_iter();
        if let Some(token) = &self.next_token {
            let last = token.strip_prefix(PREFIX).ok_or_else(|| invalid(token))?.to_owned();
            items = items.skip_while(|item| key(item) != last).skip(1).collect::<Vec<_>>().into_iter();
        }
        let page: Vec<T> = items.by_ref().take(size).collect();
        let more = items.next().is_some();
        let next_token = page.last().filter(|_| more).map(|item| format!("{PREFIX}{}", key(item)));
        Ok(Page { items: page, next_token })
    }
}

impl<T> Page<T> {
    pub(crate) fn write(&self, xml: &mut Xml, name: &str, each: impl FnMut(&mut Xml, &T)) {
        xml.list(name, &self.items, each);
        xml.optional("NextToken", self.next_token.as_ref());
    }
}

fn invalid(token: &str) -> ApiError {
    ApiError::sender("InvalidNextToken", format!("The token '{token}' is invalid."))
}

const PREFIX: &str = "after/";

/// AWS bounds tokens nowhere; ours hold a name.
const TOKEN: Text = Text { min: 1, max: 1_600, pattern: None };
