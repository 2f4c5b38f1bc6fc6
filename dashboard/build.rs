//! Builds the web application and writes the table of files that `src/lib.rs` embeds.
//!
//! Why a build script and not a committed `dist`: the files in the binary are then always those of the source beside
//! it. Why not a crate that runs npm: the one tried ignored npm's exit status and reran npm at every build.
//!
//! * `npm ci` runs only when the digest of `package-lock.json` differs from the stamp in `node_modules/`.
//! * Vite writes to `OUT_DIR/dist`, never into the source tree.
//! * A failure of npm or Vite fails the build. A machine without a usable Node.js gets a page that says so, unless
//!   `DASHBOARD=require` is set. `DASHBOARD=skip` never runs Node.js.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the application is built from, relative to `web/`.
const SOURCES: [&str; 7] =
    ["src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let web = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("web");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let dist = out.join("dist");
    let mode = env::var("DASHBOARD").unwrap_or_default();

    println!("cargo:rerun-if-env-changed=DASHBOARD");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/not-built");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", web.join(source).display());
    }

    let missing = match mode.as_str() {
        "" | "require" => unusable_node(),
        "skip" => Some("DASHBOARD=skip was set while building".to_owned()),
        other => {
            return Err(format!("DASHBOARD={other:?} is not known; allowed: skip, require, or unset").into());
        }
    };
    match missing {
        None => build(&web, &dist)?,
        Some(reason) if mode == "require" => {
            return Err(format!("DASHBOARD=require, but the dashboard cannot be built: {reason}").into());
        }
        Some(reason) => {
            if mode != "skip" {
                println!("cargo:warning=dashboard not built: {reason}");
                // A file that never exists makes cargo run this script again at the next build, so a Node.js
                // installed later is noticed without touching a file.
                println!("cargo:rerun-if-changed={}", out.join("never-exists").display());
            }
            not_built_page(&dist, &reason)?;
        }
    }
    embed(&dist, &out)
}

/// Why Node.js cannot be used, or `None` if it can. The versions are those that Vite 8 accepts.
fn unusable_node() -> Option<String> {
    const NEEDED: &str = "version 20.19, 22.12 or newer is needed";
    let Ok(output) = Command::new("node").arg("--version").stderr(Stdio::null()).output() else {
        return Some(format!("Node.js was not found on PATH ({NEEDED})"));
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_owned();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let usable = match (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) {
        (20, minor) => minor >= 19,
        (22, minor) => minor >= 12,
        (major, _) => major > 22,
    };
    if !usable {
        return Some(format!("Node.js {version} is too old ({NEEDED})"));
    }
    let npm = npm().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if npm.is_ok_and(|status| status.success()) { None } else { Some("npm was not found on PATH".to_owned()) }
}

/// `npm` is a script on Windows, which only a shell can start.
fn npm() -> Command {
    if cfg!(windows) {
        let mut command = Command::new("cmd");
        command.args(["/C", "npm"]);
        command
    } else {
        Command::new("npm")
    }
}

/// Installs what the lock file names, if it is not there yet, and runs Vite.
fn build(web: &Path, dist: &Path) -> Result<()> {
    // Two builds at once (an editor and a terminal, two target folders) share one node_modules. The lock is held
    // through Vite too, because another build's `npm ci` would remove the files under it.
    let lock = fs::File::create(web.join(".npm-install.lock"))?;
    lock.lock()?;

    let stamp = web.join("node_modules").join(".pulsewire-lock-digest");
    let digest = format!("{:016x}", fnv1a(&fs::read(web.join("package-lock.json"))?));
    if fs::read_to_string(&stamp).ok().as_deref() != Some(digest.as_str()) {
        let mut install = npm();
        install.current_dir(web).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        finish(
            install,
            "npm ci",
            "check the network or the npm registry, or set DASHBOARD=skip to build without the dashboard",
        )?;
        fs::write(&stamp, &digest)?;
    }

    let mut vite = Command::new("node");
    vite.current_dir(web)
        .arg(Path::new("node_modules").join("vite").join("bin").join("vite.js"))
        .args(["build", "--emptyOutDir", "--outDir"])
        .arg(dist);
    finish(vite, "vite build", "correct the source file named above")
}

/// Runs a command to its end; its output is shown when it fails.
fn finish(mut command: Command, name: &str, remedy: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("starting {name}: {error}"))?;
    std::io::stdout().write_all(&output.stdout)?;
    if output.status.success() {
        return Ok(());
    }
    std::io::stderr().write_all(&output.stdout)?;
    std::io::stderr().write_all(&output.stderr)?;
    Err(format!("{name} failed ({}): {remedy}", output.status).into())
}

/// Puts the page that explains why there is no dashboard where Vite would have put the application.
fn not_built_page(dist: &Path, reason: &str) -> Result<()> {
    let source = Path::new("src").join("not-built");
    if dist.exists() {
        fs::remove_dir_all(dist)?;
    }
    fs::create_dir_all(dist)?;
    let escaped = reason.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let page = fs::read_to_string(source.join("index.html"))?.replace("{{reason}}", &escaped);
    fs::write(dist.join("index.html"), page)?;
    fs::copy(source.join("not-built.css"), dist.join("not-built.css"))?;
    Ok(())
}

/// Writes `OUT_DIR/assets.rs`: one `Asset` per file of `dist`, sorted by path, with its gzip form beside it.
fn embed(dist: &Path, out: &Path) -> Result<()> {
    let packed = out.join("gzip");
    if packed.exists() {
        fs::remove_dir_all(&packed)?;
    }
    let mut files = Vec::new();
    walk(dist, dist, &mut files)?;
    files.sort();

    let mut script_bytes = 0;
    let mut source = String::from("static ASSETS: &[Asset] = &[\n");
    for path in &files {
        let file = dist.join(path);
        let bytes = fs::read(&file)?;
        let content_type = content_type(path);
        let smaller = if compressible(content_type) { Some(gzip(&bytes)?) } else { None };
        let smaller = smaller.filter(|gzip| gzip.len() < bytes.len());
        if content_type.starts_with("text/javascript") {
            script_bytes += smaller.as_ref().map_or(bytes.len(), Vec::len);
        }
        let gzip = match smaller {
            None => "None".to_owned(),
            Some(smaller) => {
                let target = packed.join(path);
                if let Some(folder) = target.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(&target, smaller)?;
                format!("Some(include_bytes!({target:?}))")
            }
        };
        writeln!(
            source,
            "    Asset {{ path: {path:?}, content_type: {content_type:?}, bytes: include_bytes!({file:?}), gzip: {gzip}, \
             etag: \"\\\"{:016x}\\\"\", immutable: {} }},",
            fnv1a(&bytes),
            path.starts_with("assets/"),
        )?;
    }
    source.push_str("];\n");
    fs::write(out.join("assets.rs"), source)?;
    println!("JavaScript on the wire: {script_bytes} bytes with gzip");
    Ok(())
}

/// Collects the files under `folder` as paths relative to `root` with `/` between parts.
fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else {
            let parts: Vec<_> =
                path.strip_prefix(root)?.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            files.push(parts.join("/"));
        }
    }
    Ok(())
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn compressible(content_type: &str) -> bool {
    !matches!(content_type, "image/png" | "image/x-icon" | "font/woff2" | "application/octet-stream")
}

/// FNV-1a, 64 bits: tells two versions of one file apart, which is all that an entity tag and the stamp need.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
