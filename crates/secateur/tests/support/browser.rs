//! Pages, as a browser shows them.
#![allow(clippy::panic)]

use super::Place;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Adds up what a page shows within a frame of a width, where media queries see that width:
/// a window of the browser is never narrower than 500 pixels.
const PROBE: &str = r#"
const frame = document.getElementById('page');
frame.onload = () => {
  const page = frame.contentDocument, seen = e => { const b = e.getBoundingClientRect(); return b.width > 0 && b.height > 0; };
  const all = query => [...page.querySelectorAll(query)];
  const charts = all('svg:not(.key)').filter(seen);
  const painted = e => { const s = getComputedStyle(e); return s.fill !== 'none' || s.stroke !== 'none'; };
  const marks = svg => [...svg.querySelectorAll('rect, circle, path, polyline')].filter(e => seen(e) && painted(e)).length;
  const wide = all('main *').filter(e => !e.closest('.scroll, details, svg') && e.getBoundingClientRect().right > frame.clientWidth + 1);
  const outside = all('.plot text').filter(seen).filter(t => {
    const a = t.getBoundingClientRect(), b = t.closest('svg').getBoundingClientRect();
    return a.left < b.left - 2 || a.right > b.right + 2;
  });
  const report = {
    width: frame.contentWindow.innerWidth,
    content: page.documentElement.scrollWidth,
    height: page.documentElement.scrollHeight,
    titles: all('h2').map(h => h.textContent),
    plots: charts.filter(c => c.classList.contains('plot')).length,
    bars: charts.filter(c => c.classList.contains('bar')).length,
    histograms: charts.filter(c => c.classList.contains('small')).length,
    empty: charts.filter(c => marks(c) === 0).map(c => c.getAttribute('aria-label')),
    unnamed: charts.filter(c => !c.getAttribute('aria-label')).length,
    pictures: all('img').length,
    broken: all('img').filter(i => !i.complete || i.naturalWidth === 0).length,
    wide: wide.map(e => e.tagName + '.' + e.className),
    outside: outside.map(t => t.textContent),
    cut: all('.scroll').filter(seen).filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.scrollWidth),
    background: getComputedStyle(page.body).backgroundColor,
  };
  const out = document.createElement('pre');
  out.id = 'probe';
  out.textContent = JSON.stringify(report);
  document.body.append(out);
};
"#;

/// The browser, where there is one.
pub struct Browser {
    program: PathBuf,
    /// What it keeps between runs.
    profile: tempfile::TempDir,
}

impl Browser {
    pub fn find() -> Option<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let program = std::env::split_paths(&folders)
            .flat_map(|folder| names.map(|name| folder.join(name)))
            .find(|program| program.is_file());
        if program.is_none() {
            // To the terminal itself: the harness keeps what tests print, and this must be heard.
            let _ = writeln!(
                std::io::stderr(),
                "\n*** SKIPPED: no chromium in PATH; pages were not opened in a browser ***\n"
            );
        }
        Some(Self {
            program: program?,
            profile: tempfile::tempdir().unwrap(),
        })
    }

    pub fn run(&self, options: &[String], page: &Path) -> Output {
        let output = Command::new(&self.program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args(["--no-first-run", "--disable-background-networking"])
            .args([
                "--disable-component-update",
                "--disable-sync",
                "--enable-logging=stderr",
            ])
            .arg(format!("--user-data-dir={}", self.profile.path().display()))
            .args(options)
            .arg(format!("file://{}", page.display()))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let complaints: Vec<&str> = told.lines().filter(|l| l.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        output
    }

    /// What [`PROBE`] finds in a page of a width.
    pub fn probe(&self, place: &Place, html: &str, width: usize, dark: bool) -> Value {
        let quoted = html.replace('&', "&amp;").replace('"', "&quot;");
        place.write(
            "probe.html",
            format!(
                "<!DOCTYPE html><html style=\"color-scheme: light dark\"><body><iframe id=\"page\" width=\"{width}\" height=\"900\" \
                 style=\"border:0\" srcdoc=\"{quoted}\"></iframe><script>{PROBE}</script></body></html>"
            ),
        );
        let scheme = format!(
            "--blink-settings=preferredColorScheme={}",
            usize::from(!dark)
        );
        let options = [
            "--dump-dom".to_owned(),
            "--virtual-time-budget=10000".to_owned(),
            format!("--window-size={},1000", width.max(500) + 40),
            scheme,
        ];
        let output = self.run(&options, &place.path("probe.html"));
        let dom = String::from_utf8_lossy(&output.stdout);
        let found = dom
            .split_once("<pre id=\"probe\">")
            .and_then(|(_, rest)| rest.split_once("</pre>"));
        let Some((found, _)) = found else {
            panic!("the page was not probed: {output:?}");
        };
        let plain = found
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        serde_json::from_str(&plain).unwrap()
    }

    /// Whether a page is whole on paper of A4 with a centimetre of margin: nothing is beyond its edge, tables neither.
    pub fn check_print(&self, place: &Place, html: &str) {
        let paper = html.replace("@media print", "@media all");
        assert_ne!(paper, html);
        let seen = self.probe(place, &paper, 718, false);
        for wrong in ["empty", "wide", "outside", "cut"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{wrong}: {seen}");
        }
    }

    /// Whether a page of these titles is whole at a width: fits, and has neither empty charts nor broken pictures.
    pub fn check(&self, place: &Place, html: &str, width: usize, titles: &[&str]) -> Value {
        let seen = self.probe(place, html, width, false);
        assert_eq!(seen["titles"], serde_json::json!(titles), "{seen}");
        assert_eq!(seen["width"], width as u64, "{seen}");
        assert!(seen["content"].as_u64().unwrap() <= width as u64, "{seen}");
        for wrong in ["empty", "wide", "outside"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{width}: {seen}");
        }
        assert_eq!(
            (&seen["broken"], &seen["unnamed"]),
            (&0.into(), &0.into()),
            "{seen}"
        );
        seen
    }
}
