//! Adds to a manifest that came from elsewhere what was lost since it was written.

use serde_json::{Map, Value};

use crate::{Manifest, ManifestError};

impl Manifest {
    /// Adds `errors`, and `incomplete` where nothing of the kind is said yet, to a manifest that was read
    /// from `json`. Returns it as JSON, with the fields that only a later version knows.
    pub fn amend(&mut self, json: &[u8], incomplete: &str, errors: &[ManifestError]) -> Vec<u8> {
        self.errors.extend_from_slice(errors);
        if self.incomplete.is_empty() {
            incomplete.clone_into(&mut self.incomplete);
        }
        let amended = match serde_json::from_slice::<Map<String, Value>>(json) {
            Ok(fields) => self.written_over(fields, errors),
            // Fields without names can be read as a manifest, too; there are no others then.
            Err(_) => serde_json::to_vec_pretty(self),
        };
        // Its fields are texts, numbers and lists of them: all of it can be written.
        let mut amended = amended.unwrap_or_else(|_| json.to_vec());
        amended.push(b'\n');
        amended
    }

    fn written_over(
        &self,
        mut fields: Map<String, Value>,
        errors: &[ManifestError],
    ) -> serde_json::Result<Vec<u8>> {
        if !self.incomplete.is_empty() {
            fields.insert("incomplete".to_owned(), self.incomplete.clone().into());
        }
        let more = errors.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        match fields.get_mut("errors") {
            Some(Value::Array(list)) => list.extend(more),
            _ => drop(fields.insert("errors".to_owned(), more.into())),
        }
        serde_json::to_vec_pretty(&fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let lost = ManifestError { kind: "heap".into(), error: "heap.prof is missing".into() };
        let mut manifest: Manifest = serde_json::from_str(json).unwrap();
        let amended = manifest.amend(json.as_bytes(), "lost", &[lost]);
        let value: Value = serde_json::from_slice(&amended).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(expected).unwrap());
        assert_eq!(serde_json::from_slice::<Manifest>(&amended).unwrap(), manifest);
    }

    #[test]
    fn what_it_says_is_kept() {
        let lost = r#"{"kind":"heap","error":"heap.prof is missing"}"#;
        check(
            r#"{"format":1,"pid":7,"later":[{}]}"#,
            &format!(
                r#"{{"format":1,"pid":7,"later":[{{}}],"incomplete":"lost","errors":[{lost}]}}"#
            ),
        );
        check(
            r#"{"format":2,"incomplete":"died","errors":[{"kind":"cpu","error":"x","at":3}]}"#,
            &format!(
                r#"{{"format":2,"incomplete":"died",
                "errors":[{{"kind":"cpu","error":"x","at":3}},{lost}]}}"#
            ),
        );
    }

    #[test]
    fn fields_without_names_get_theirs() {
        let json = r#"[1,"shop","1.4.2","web-3",7,"","",1.0,"consolidated",{},[],"",[],[],[]]"#;
        let mut manifest: Manifest = serde_json::from_str(json).unwrap();
        let amended = manifest.amend(json.as_bytes(), "lost", &[]);
        let read: Manifest = serde_json::from_slice(&amended).unwrap();
        assert_eq!((read.service.as_str(), read.incomplete.as_str()), ("shop", "lost"));
    }
}
