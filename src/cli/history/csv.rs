//! One line for each record (RFC 4180). No field is a formula to a spreadsheet.

use std::io::{self, Write};

use super::model::{PolicyHistory, Standing, Told};
use crate::cli::report::csv::field;

pub(super) fn print(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "policy,number,at,event,what,digest,previous,chain\r\n")?;
    for policy in &told.policies {
        let chain = match &policy.standing {
            Standing::Holds => "holds".to_owned(),
            Standing::Broken { why } => format!("broken: {why}"),
            Standing::Unknown { why } => format!("unknown: {why}"),
        };
        print_policy(policy, &chain, out)?;
    }
    Ok(())
}

fn print_policy(policy: &PolicyHistory, chain: &str, out: &mut dyn Write) -> io::Result<()> {
    for record in policy.records.records() {
        let event = serde_json::to_value(&record.event).ok();
        let event = event.as_ref().and_then(|event| event.get("event")?.as_str()).unwrap_or_default().to_owned();
        let fields = [
            policy.policy.clone(),
            record.number.to_string(),
            record.at.to_string(),
            event,
            record.event.to_string(),
            record.digest.to_string(),
            record.previous.to_string(),
            chain.to_owned(),
        ];
        write!(out, "{}\r\n", fields.map(|text| field(&text)).join(","))?;
    }
    Ok(())
}
