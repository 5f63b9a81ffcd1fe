//! Pages that need nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write;

/// A part of a page.
pub struct Section {
    pub title: &'static str,
    /// What is to be seen, in a sentence or two.
    pub lead: String,
    /// What is seen: HTML.
    pub body: String,
}

/// A page of sections.  `title` and `subtitle` are plain text, `top` is HTML.
pub fn page(title: &str, subtitle: &str, top: &str, sections: &[Section]) -> String {
    let (title, subtitle) = (escaped(title), escaped(subtitle));
    let mut body = String::new();
    for Section {
        title,
        lead,
        body: inner,
    } in sections
    {
        let lead = escaped(lead);
        let _ = write!(
            body,
            "<section>\n<h2>{title}</h2>\n<p class=\"lead\">{lead}</p>\n{inner}\n</section>\n"
        );
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>{title}</h1>\n<p class=\"subtitle\">{subtitle}</p>\n{top}</header>\n{body}\
         <footer>Secateur {version}</footer>\n</main>\n</body>\n</html>\n",
        css = include_str!("style.css"),
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// Text as a page may hold it, within elements and within quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Controls have no place in a page.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// How a column of a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Text,
    Figure,
}

/// A table of plain text.
pub fn table(headings: &[(&str, Column)], rows: &[Vec<String>]) -> String {
    let class = |column: Column| match column {
        Column::Text => " class=\"text\"",
        Column::Figure => "",
    };
    let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for &(heading, column) in headings {
        let _ = write!(
            out,
            "<th scope=\"col\"{}>{}</th>",
            class(column),
            escaped(heading)
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (cell, &(_, column)) in row.iter().zip(headings) {
            let _ = write!(out, "<td{}>{}</td>", class(column), escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// The figures behind a picture, folded away.
pub fn figures(headings: &[(&str, Column)], rows: &[Vec<String>]) -> String {
    format!(
        "<details><summary>Figures as a table</summary>{}</details>",
        table(headings, rows)
    )
}

/// What colours stand for.  `entries`: a class of the style, and plain text.
pub fn legend(entries: &[(&str, &str)]) -> String {
    let mut out = String::from("<p class=\"legend\">");
    for (class, text) in entries {
        let _ = write!(
            out,
            "<span><svg class=\"key\" viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"10\" height=\"10\"/></svg>{}</span> ",
            escaped(text)
        );
    }
    out.push_str("</p>");
    out
}

/// Rows of a name, a picture and a figure.  Names and figures are plain text, pictures HTML.
pub fn rows(rows: impl IntoIterator<Item = (String, String, String)>) -> String {
    let mut out = String::from("<div class=\"rows\">\n");
    for (name, picture, figure) in rows {
        let _ = writeln!(
            out,
            "<div class=\"row\"><span class=\"of\">{}</span><span class=\"drawn\">{picture}</span><span class=\"figure\">{}</span></div>",
            escaped(&name),
            escaped(&figure)
        );
    }
    out.push_str("</div>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_cannot_leave_their_place() {
        let hostile = "</title><script>alert('x')</script>\" onload=\"\u{0}";
        let section = Section {
            title: "a",
            lead: hostile.into(),
            body: table(&[(hostile, Column::Text)], &[vec![hostile.into()]]),
        };
        let page = page(hostile, hostile, "", &[section]);
        assert!(!page.contains("<script") && !page.contains("alert('"));
        assert!(!page.contains("\" onload") && !page.contains('\u{0}'));
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_markup(text: String) {
            let escaped = escaped(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }
    }
}
