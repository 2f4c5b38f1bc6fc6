//! The dashboard as static files inside the binary.
//!
//! `build.rs` builds the application in `web/` and this crate embeds the result, each file also in gzip form, so that
//! the server sends ready bytes and compresses nothing at run time. It knows nothing of HTTP: the server decides about
//! headers and about which unknown paths answer with [`index`].

/// One file of the application.
#[derive(Debug)]
pub struct Asset {
    /// Path below the site's root with `/` between parts and none in front: `assets/index-3fa9c1.js`.
    pub path: &'static str,
    /// Value for `Content-Type`, with the character set where one applies.
    pub content_type: &'static str,
    /// The file as it is.
    pub bytes: &'static [u8],
    /// The file as gzip, for clients that accept it; `None` where that is not smaller.
    pub gzip: Option<&'static [u8]>,
    /// Value for `ETag`, quotes included. It names the content of `bytes`; a server that sends `gzip` must add
    /// `Vary: Accept-Encoding`.
    pub etag: &'static str,
    /// The path holds a digest of the content, so a cache may keep the file for ever (`immutable`). Files for which
    /// this is false must be asked for again each time (`no-cache`).
    pub immutable: bool,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at a request path, with or without the slash in front. `/` is the application's page.
///
/// `None` says that no such file exists. Pages such as `/devices/7` are no files: answer those with [`index`], but
/// answer unknown paths below `/api/` and `/assets/` with 404.
#[must_use]
pub fn lookup(path: &str) -> Option<&'static Asset> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = if path.is_empty() { "index.html" } else { path };
    ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok().map(|position| &ASSETS[position])
}

/// The application's page. In a build without Node.js it says so, and what to do about it.
#[must_use]
pub fn index() -> &'static Asset {
    const {
        // Checked here, at compile time, so that no request can meet a build without its page.
        let mut position = 0;
        loop {
            assert!(position < ASSETS.len(), "the build produced no index.html");
            if is_index(ASSETS[position].path.as_bytes()) {
                break &ASSETS[position];
            }
            position += 1;
        }
    }
}

const fn is_index(path: &[u8]) -> bool {
    matches!(path, b"index.html")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn built() -> bool {
        lookup("not-built.css").is_none()
    }

    #[test]
    fn root_and_index_html_are_the_page() {
        for path in ["", "/", "index.html", "/index.html"] {
            assert_eq!(lookup(path).map(|asset| asset.path), Some("index.html"), "{path:?}");
        }
        assert_eq!(index().content_type, "text/html; charset=utf-8");
        assert!(!index().immutable, "a cached page would name files of an older build");
    }

    #[test]
    fn every_file_is_found_by_its_path_and_nothing_else_is() {
        for asset in ASSETS {
            assert!(std::ptr::eq(lookup(asset.path).expect(asset.path), asset));
        }
        for path in ["/assets/", "/assets", "/../Cargo.toml", "//index.html", "/api/v1/devices", "/devices/7"] {
            assert!(lookup(path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn gzip_form_unpacks_to_the_same_bytes_and_is_smaller() {
        for asset in ASSETS {
            let Some(gzip) = asset.gzip else { continue };
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(gzip).read_to_end(&mut unpacked).expect(asset.path);
            assert_eq!(unpacked, asset.bytes, "{}", asset.path);
            assert!(gzip.len() < asset.bytes.len(), "{}", asset.path);
        }
    }

    #[test]
    fn only_files_with_a_digest_in_their_name_are_immutable() {
        for asset in ASSETS {
            assert_eq!(asset.immutable, asset.path.starts_with("assets/"), "{}", asset.path);
            assert!(asset.etag.starts_with('"') && asset.etag.ends_with('"') && asset.etag.len() > 2);
        }
    }

    #[test]
    fn page_needs_no_inline_script_or_style() {
        let page = std::str::from_utf8(index().bytes).expect("UTF-8");
        assert!(!page.contains("<style") && !page.contains("style=\""), "style-src 'self' would block it");
        for script in page.split("<script").skip(1) {
            assert!(script.contains("src="), "script-src 'self' would block it: {script}");
        }
    }

    /// The scripts that a text names after `before`.
    fn scripts<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        let name = |rest: &'a str| Some(&rest[..rest.find(['"', '`'])?]).filter(|name| name.ends_with(".js"));
        text.split(before).skip(1).filter_map(name).collect()
    }

    fn text_of(script: &str) -> &'static str {
        std::str::from_utf8(lookup(&format!("assets/{script}")).expect(script).bytes).expect(script)
    }

    /// Adds a script and all that it needs at once; what it opens later is no part of that.
    fn add(found: &mut std::collections::BTreeSet<&'static str>, script: &'static str) {
        if found.insert(script) {
            let text = text_of(script);
            let needed = scripts(text, "from\"./").into_iter().chain(scripts(text, "import\"./"));
            needed.for_each(|other| add(found, other));
        }
    }

    fn on_the_wire(scripts: &std::collections::BTreeSet<&str>) -> usize {
        let size = |script: &&str| lookup(&format!("assets/{script}")).map_or(0, |a| a.gzip.unwrap_or(a.bytes).len());
        scripts.iter().map(size).sum()
    }

    #[test]
    fn javascript_of_each_page_stays_within_its_budget_on_the_wire() {
        const FIRST_PAGE_BYTES_MAX: usize = 60 * 1024;
        const ANY_PAGE_BYTES_MAX: usize = 90 * 1024;
        if !built() {
            return;
        }
        let page = std::str::from_utf8(index().bytes).expect("UTF-8");
        let mut first = std::collections::BTreeSet::new();
        scripts(page, "src=\"/assets/").into_iter().for_each(|script| add(&mut first, script));
        let size = on_the_wire(&first);
        assert!(
            size > 0 && size <= FIRST_PAGE_BYTES_MAX,
            "{size} bytes for the first page; allowed: 1 to {FIRST_PAGE_BYTES_MAX}"
        );

        let later: Vec<_> = first.iter().flat_map(|script| scripts(text_of(script), "import(`./")).collect();
        assert!(later.len() > 5, "the pages that are opened later are not found: {later:?}");
        for entry in later {
            // With what the page itself opens later, such as its dialogs.
            let mut whole = first.clone();
            add(&mut whole, entry);
            loop {
                let own: Vec<_> = whole.difference(&first).copied().collect();
                let before = whole.len();
                own.iter()
                    .flat_map(|script| scripts(text_of(script), "import(`./"))
                    .for_each(|script| add(&mut whole, script));
                if whole.len() == before {
                    break;
                }
            }
            let size = on_the_wire(&whole);
            assert!(size <= ANY_PAGE_BYTES_MAX, "{size} bytes with {entry}; allowed: {ANY_PAGE_BYTES_MAX}");
        }
    }
}
