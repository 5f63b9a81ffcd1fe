use crate::DataError;

/// The dictionary at the head of a `.npy` file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub descr: String,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
}

impl Header {
    /// Parses a Python literal like `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`,
    /// with the keys in any order.
    pub fn parse(text: &[u8], place: &str) -> Result<Self, DataError> {
        let mut parser = Parser { text, at: 0 };
        parser.header().ok_or_else(|| {
            let needed = "{'descr': str, 'fortran_order': bool, 'shape': tuple of int}";
            let from = parser.at.min(text.len());
            let near: String = text[from..]
                .iter()
                .take(24)
                .flat_map(|b| b.escape_ascii())
                .map(char::from)
                .collect();
            let place = format!("{place}, header byte {from}");
            DataError::malformed(place, "npy header", needed, format!("\"{near}\""))
        })
    }
}

/// Walks over the literal; `at` is where it got to. There is no nesting but the one tuple.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn header(&mut self) -> Option<Header> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.need(b"{")?;
        while !self.eat(b"}") {
            let key = self.string()?;
            self.need(b":")?;
            match key.as_str() {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran_order = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if !self.eat(b",") {
                self.need(b"}")?;
                break;
            }
        }
        self.space();
        (self.at == self.text.len()).then_some(Header {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self
            .rest()
            .iter()
            .take_while(|b| b.is_ascii_whitespace())
            .count();
    }

    fn eat(&mut self, token: &[u8]) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn need(&mut self, token: &[u8]) -> Option<()> {
        self.eat(token).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        let quote = if self.eat(b"'") {
            b'\''
        } else {
            self.need(b"\"").map(|()| b'"')?
        };
        let len = self.rest().iter().position(|&b| b == quote)?;
        let string = str::from_utf8(self.rest().get(..len)?).ok()?.to_owned();
        self.at += len + 1;
        Some(string)
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.eat(b"True") {
            return Some(true);
        }
        self.need(b"False").map(|()| false)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        // NumPy has no more dimensions.
        const MAX_RANK: usize = 64;
        let mut shape = Vec::new();
        self.need(b"(")?;
        while !self.eat(b")") {
            self.space();
            let digits = self
                .rest()
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            let number = str::from_utf8(self.rest().get(..digits)?)
                .ok()?
                .parse()
                .ok()?;
            self.at += digits;
            shape.push(number);
            if !self.eat(b",") {
                self.need(b")")?;
                break;
            }
            if shape.len() > MAX_RANK {
                return None;
            }
        }
        Some(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_numpy_writes() {
        let parse = |text: &str| Header::parse(text.as_bytes(), "x.npy");
        let header =
            parse("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n").unwrap();
        assert_eq!(
            header,
            Header {
                descr: "<f4".into(),
                fortran_order: false,
                shape: vec![2, 3]
            }
        );
        let header = parse("{\"shape\":(),\"fortran_order\":True,\"descr\":\"|u1\"}").unwrap();
        assert_eq!(
            header,
            Header {
                descr: "|u1".into(),
                fortran_order: true,
                shape: vec![]
            }
        );
        assert_eq!(
            parse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}")
                .unwrap_err()
                .to_string(),
            "x.npy, header byte 10: npy header: needed {'descr': str, 'fortran_order': bool, \
             'shape': tuple of int}, found \"[(\\'a\\', \\'<f4\\')], \\'fortran\""
        );
        for wrong in ["", "{", "{}", "{'shape': (-1,)}", "{'descr': '<f4'} x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
