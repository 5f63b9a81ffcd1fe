//! The page of a run, as a browser shows it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::Place;

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
    background: getComputedStyle(page.body).backgroundColor,
  };
  const out = document.createElement('pre');
  out.id = 'probe';
  out.textContent = JSON.stringify(report);
  document.body.append(out);
};
"#;

/// The browser, where there is one.
struct Browser {
    program: PathBuf,
    /// What it keeps between runs.
    profile: tempfile::TempDir,
}

impl Browser {
    fn find() -> Option<Self> {
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

    fn run(&self, options: &[String], page: &Path) -> Output {
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
    fn probe(&self, place: &Place, html: &str, width: usize, dark: bool) -> Value {
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
}

/// A run of the digits, with its page.
fn run() -> (Place, String) {
    let place = Place::new();
    place.train();
    place.write("tiny.toml", support::TINY);
    let ran = place
        .ok("compress dense.onnx --data digits --recipe tiny.toml -o small.sct --html report.html");
    assert!(ran.stdout.contains("report: report.html"), "{ran:?}");
    let html = String::from_utf8(place.read("report.html")).unwrap();
    (place, html)
}

#[test]
fn a_run_is_a_page_that_a_browser_draws() {
    let (place, html) = run();
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    // Nothing from elsewhere, and nothing that runs.
    for outside in ["http:", "https:", "<script", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    let Some(browser) = Browser::find() else {
        return;
    };
    for width in [320, 400, 1200] {
        let seen = browser.probe(&place, &html, width, false);
        let count = |key: &str| seen[key].as_u64().unwrap();
        assert_eq!(count("width"), width as u64, "{seen}");
        assert!(count("content") <= width as u64, "{seen}");
        let titles = ["The trade", "Answers", "Layers", "Bytes", "Time", "Weights"];
        assert_eq!(seen["titles"], serde_json::json!(titles), "{seen}");
        // The curve and the roofline; a histogram for each of three layers.
        assert_eq!((count("plots"), count("histograms")), (2, 3), "{seen}");
        assert!(count("bars") > 30 && count("pictures") > 12, "{seen}");
        for wrong in ["empty", "wide", "outside"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{width}: {seen}");
        }
        assert_eq!((count("broken"), count("unnamed")), (0, 0), "{seen}");
    }
    let [light, dark] =
        [false, true].map(|dark| browser.probe(&place, &html, 400, dark)["background"].to_string());
    assert_ne!(light, dark);

    let page = place.path("report.html");
    for width in [400, 1200] {
        let picture = place.path("page.png");
        let options = [
            format!("--window-size={width},1600"),
            format!("--screenshot={}", picture.display()),
        ];
        browser.run(&options, &page);
        let picture = image::open(&picture).unwrap().to_rgb8();
        assert_eq!(picture.width(), width);
        // What is kept is drawn in the colour of the page for it.
        let after = picture
            .pixels()
            .filter(|p| p.0 == [0xd5, 0x5e, 0x00])
            .count();
        assert!(after > 500, "{after} pixels at {width}");
    }
    let paper = place.path("page.pdf");
    browser.run(&[format!("--print-to-pdf={}", paper.display())], &page);
    let paper = place.read("page.pdf");
    assert!(
        paper.starts_with(b"%PDF") && paper.len() > 20_000,
        "{} bytes",
        paper.len()
    );
}

#[test]
fn a_roofline_is_a_page_that_a_browser_draws() {
    let place = Place::new();
    place.train();
    place.ok("bench dense.onnx --repeats 20 --threads 1 --html roof.html");
    let Some(browser) = Browser::find() else {
        return;
    };
    let html = String::from_utf8(place.read("roof.html")).unwrap();
    for width in [400, 1200] {
        let seen = browser.probe(&place, &html, width, true);
        assert_eq!(seen["plots"], 1, "{seen}");
        for wrong in ["empty", "wide", "outside"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{width}: {seen}");
        }
    }
}

#[test]
fn a_sensitivity_is_a_page_that_fits_a_phone() {
    let place = Place::new();
    place.train();
    place.ok("sensitivity dense.onnx --data digits --samples 64 --html s.html --json s.json");
    let html = String::from_utf8(place.read("s.html")).unwrap();
    let table = place.json("s.json");
    let choices = |layer: &Value| layer["choices"].as_array().unwrap().len();
    let cells: usize = table["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(choices)
        .sum();
    assert!(cells > 0);
    assert_eq!(html.matches("<td class=\"h").count(), cells);
    let Some(browser) = Browser::find() else {
        return;
    };
    let seen = browser.probe(&place, &html, 320, false);
    assert_eq!(seen["titles"], serde_json::json!(["Sensitivity"]), "{seen}");
    assert!(seen["content"].as_u64().unwrap() <= 320, "{seen}");
    assert_eq!(seen["wide"], serde_json::json!([]), "{seen}");
}

#[test]
fn a_machine_is_a_page_that_a_browser_draws() {
    let place = Place::new();
    place.compress();
    place.ok("data sample digits --index 3 -o digit.png");
    place.ok(
        "simulate small.sct --input digit.png --compare systolic-32x32,eie-64 --sweep array.groups=4..16 --html machine.html",
    );
    let html = String::from_utf8(place.read("machine.html")).unwrap();
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    for outside in ["http:", "https:", "<script", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    place.ok(
        "simulate small.sct --sweep array.groups=4,8 --sweep memory.dram_bytes_a_cycle=6.4..25.6 --html heat.html",
    );
    let heat = String::from_utf8(place.read("heat.html")).unwrap();
    // Six points, their time and their energy.
    assert_eq!(heat.matches("<td class=\"h").count(), 12);
    let Some(browser) = Browser::find() else {
        return;
    };
    for (width, dark) in [(320, false), (400, true), (1200, false)] {
        let seen = browser.probe(&place, &html, width, dark);
        let count = |key: &str| seen[key].as_u64().unwrap();
        assert!(count("content") <= width as u64, "{seen}");
        let titles = [
            "Machines",
            "Where cycles go",
            "Time",
            "Time of one layer",
            "Roofline",
            "Energy",
            "Multiply-accumulates",
            "Other settings",
            "Steps",
        ];
        assert_eq!(seen["titles"], serde_json::json!(titles), "{seen}");
        // The network's time, the layer's and its groups', the roofline, time and energy by groups.
        assert_eq!(count("plots"), 6, "{seen}");
        assert!(count("bars") > 20, "{seen}");
        for wrong in ["empty", "wide", "outside"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{width}: {seen}");
        }
        assert_eq!(count("unnamed"), 0, "{seen}");
    }
    let seen = browser.probe(&place, &heat, 320, false);
    assert!(seen["content"].as_u64().unwrap() <= 320, "{seen}");
    assert_eq!(seen["wide"], serde_json::json!([]), "{seen}");
    let paper = place.path("page.pdf");
    browser.run(
        &[format!("--print-to-pdf={}", paper.display())],
        &place.path("machine.html"),
    );
    assert!(place.read("page.pdf").starts_with(b"%PDF"));
}

#[test]
fn names_of_others_stay_names() {
    let place = Place::new();
    place.train();
    let (dense, hostile) = (place.path("dense.onnx"), place.path("hostile.onnx"));
    let name = "</style><script>document.title='x'</script>\"'&";
    support::rewrite(&dense, &hostile, |graph| {
        graph.name = name.into();
        for node in &mut graph.nodes {
            node.name = format!("{name}{}", node.name);
        }
        graph
            .metadata
            .insert("classes".into(), [name; 10].join("\n"));
    });
    place.write("tiny.toml", support::TINY);
    place.ok(
        "compress hostile.onnx --data digits --recipe tiny.toml -o small.sct --html report.html",
    );
    let html = String::from_utf8(place.read("report.html")).unwrap();
    let sound = |html: &str| {
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
        assert_eq!(html.matches("</style>").count(), 1);
    };
    sound(&html);
    place.ok("simulate small.sct --html machine.html");
    sound(&String::from_utf8(place.read("machine.html")).unwrap());
}
