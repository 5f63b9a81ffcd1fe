//! One JSON object a line, for each thing that happens.

use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A log that is added to. That it cannot be written is told once and stops nothing: what counts is kept
/// elsewhere.
pub struct Log {
    file: Option<File>,
}

impl Log {
    /// Opens a log; behind a line that was cut off, a new one begins.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path);
        let mut log = Self {
            file: file.map_err(|e| warn(&e)).ok(),
        };
        if let Some(file) = &mut log.file {
            let mut last = [b'\n'];
            let cut = file.seek(SeekFrom::End(-1)).is_ok()
                && file.read_exact(&mut last).is_ok()
                && last != [b'\n'];
            if cut {
                log.append(b"\n");
            }
        }
        log
    }

    /// Adds an event with its fields and the time.
    pub fn event(&mut self, event: &str, mut fields: Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("event".into(), json!(event));
            let seconds = now.map_or(0.0, |t| (t.as_secs_f64() * 1e3).round() / 1e3);
            fields.insert("time".into(), json!(seconds));
        }
        self.append(format!("{fields}\n").as_bytes());
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else {
            return;
        };
        if let Err(error) = file.write_all(bytes) {
            warn(&error);
            self.file = None;
        }
    }
}

fn warn(error: &std::io::Error) {
    eprintln!("warning: the log of the run ends here: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, "{\"event\":\"a\"}\n{\"eve").unwrap();
        Log::open(&path).event("b", json!({"x": 1}));
        Log::open(&path).event("c", json!({}));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let parsed: Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!((&parsed["event"], &parsed["x"]), (&json!("b"), &json!(1)));
    }
}
