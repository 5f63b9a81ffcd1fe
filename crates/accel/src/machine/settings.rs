//! Machines that are another but for some settings.

use super::Machine;
use crate::AccelError;
use toml::{Table, Value};

/// Keys that tell machines apart, and are no settings.
const FIXED: [&str; 3] = ["name", "source", "array.kind"];

impl Machine {
    /// This machine with other settings: the dotted path of a key in its file, and what stands there instead. Words need
    /// no quotes.
    ///
    /// ```
    /// # use secateur_accel::Machine;
    /// let machine = Machine::builtin("secateur-1tops")?;
    /// let double = machine.with(&[("array.groups", "32")])?;
    /// assert_eq!(double.cells(), 2 * machine.cells());
    /// let told = machine.with(&[("array.group", "32")]).unwrap_err().to_string();
    /// assert!(told.contains("no setting `array.group`"));
    /// # Ok::<(), secateur_accel::AccelError>(())
    /// ```
    ///
    /// # Errors
    /// [`AccelError::File`]: a key that the machine does not have, and which there are; a value of the wrong type.
    /// [`AccelError::Machine`]: a machine that cannot be built.
    pub fn with(&self, settings: &[(&str, &str)]) -> Result<Self, AccelError> {
        let wrong = |reason: String| AccelError::File {
            name: self.name.clone(),
            reason,
        };
        let mut table = self.table()?;
        for &(key, text) in settings {
            let found = match FIXED.contains(&key) {
                true => None,
                false => leaf(&mut table, key),
            };
            let Some(value) = found else {
                let keys = self.settings()?.join(", ");
                return Err(wrong(format!("no setting `{key}`; there are {keys}")));
            };
            *value = like(value, text)
                .ok_or_else(|| wrong(format!("{key}: needed {}, found `{text}`", kind(value))))?;
        }
        let named = settings.iter().map(|(key, text)| format!("{key} = {text}"));
        let named = named.collect::<Vec<_>>().join(", ");
        let machine: Self = Value::Table(table)
            .try_into()
            .map_err(|e| wrong(format!("{named}: {e}")))?;
        machine.check()?;
        Ok(machine)
    }

    /// The dotted paths of all settings that can be [changed](Self::with).
    ///
    /// # Errors
    /// A machine that no file can hold.
    pub fn settings(&self) -> Result<Vec<String>, AccelError> {
        let mut keys = Vec::new();
        leaves("", &self.table()?, &mut keys);
        keys.retain(|key| !FIXED.contains(&key.as_str()));
        Ok(keys)
    }

    fn table(&self) -> Result<Table, AccelError> {
        Table::try_from(self).map_err(|e| AccelError::File {
            name: self.name.clone(),
            reason: e.to_string(),
        })
    }
}

/// What stands at a dotted path, unless it is a table itself.
fn leaf<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    match key.split_once('.') {
        Some((first, rest)) => leaf(table.get_mut(first)?.as_table_mut()?, rest),
        None => table.get_mut(key).filter(|value| !value.is_table()),
    }
}

fn leaves(path: &str, table: &Table, keys: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => leaves(&format!("{path}{key}."), inner, keys),
            _ => keys.push(format!("{path}{key}")),
        }
    }
}

/// A text as a value of the same type as another.
fn like(value: &Value, text: &str) -> Option<Value> {
    match value {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::String(_) => Some(Value::String(text.into())),
        _ => None,
    }
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        _ => "a word",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_file() {
        let machine = Machine::builtin("secateur-1tops").unwrap();
        let keys = machine.settings().unwrap();
        for key in [
            "clock_mhz",
            "process",
            "array.groups",
            "memory.weight_bytes",
        ] {
            assert!(keys.iter().any(|k| k == key), "{key}: {keys:?}");
        }
        let changed = [
            ("clock_mhz", "500"),
            ("process", "7nm"),
            ("array.skips", "nothing"),
            ("memory.dram_bytes_a_cycle", "12.8"),
        ];
        let other = machine.with(&changed).unwrap();
        assert_eq!(other.clock_mhz, 500.0);
        assert_eq!(other.memory.unwrap().dram_bytes_a_cycle, 12.8);
        assert_eq!(machine.with(&[]).unwrap(), machine);
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        let machine = Machine::builtin("eie-64").unwrap();
        let told = |key, text| machine.with(&[(key, text)]).unwrap_err();
        for key in [
            "array",
            "name",
            "array.kind",
            "memory.weight_bytes",
            "clock_mhz.x",
            "",
        ] {
            let error = told(key, "1").to_string();
            assert!(
                error.contains("no setting") && error.contains("array.queue_slots"),
                "{error}"
            );
        }
        let word = told("array.elements", "many").to_string();
        assert!(
            word.contains("array.elements: needed a whole number, found `many`"),
            "{word}"
        );
        let negative = told("array.elements", "-1").to_string();
        assert!(negative.contains("array.elements = -1"), "{negative}");
        let slots = told("array.queue_slots", "1");
        assert!(matches!(slots, AccelError::Machine { .. }), "{slots}");
    }
}
