//! The application that is deployed: files that can be told apart, the web server's configuration, and a deploy that can
//! halt half-way.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// How many pages the application has.
const PAGES: usize = 240;

/// How many a small one has, where there are hundreds of instances on one machine.
const PAGES_FEW: usize = 8;

/// A release of the application, in a staging directory laid out like the root of an instance.
#[derive(Debug, Clone)]
pub struct Site {
    staging: PathBuf,
    pages: usize,
}

/// How much of a release a deploy brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deploy {
    /// All of it.
    Whole,
    /// It stops half-way, and tells nobody.
    Halted,
}

impl Site {
    /// Writes the release into `staging`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(staging: PathBuf) -> Result<Self> {
        Self::of(PAGES, staging)
    }

    /// The same with a few pages only.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_small(staging: PathBuf) -> Result<Self> {
        Self::of(PAGES_FEW, staging)
    }

    fn of(pages: usize, staging: PathBuf) -> Result<Self> {
        let site = Self { staging, pages };
        for page in 0..pages {
            site.put(&page_path(page), page_text(page).as_bytes())?;
        }
        site.put("var/www/shop/index.html", b"<h1>shop</h1>\n")?;
        site.put("etc/shop/site.conf", b"add_header X-Release one always;\nexpires off;\n")?;
        Ok(site)
    }

    /// The staging directory.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// What a person writes to say what a ready instance carries.
    pub fn spec() -> &'static str {
        r#"# What an instance of the shop must carry, exactly.
product = "shop"

[[tree]]
name = "app"
root = "/var/www/shop"

[[tree]]
name = "web server"
root = "/etc/shop"
"#
    }

    /// Deploys to `instance`, in the order a deploy tool takes: configuration, then pages.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn deploy(&self, instance: &Path, deploy: Deploy) -> Result<()> {
        let pages = match deploy {
            Deploy::Whole => self.pages,
            // The database change it waits for is expected after so many.
            Deploy::Halted => self.pages * 5 / 8,
        };
        let front = ["etc/shop/site.conf".to_owned()];
        let last = (deploy == Deploy::Whole).then(|| "var/www/shop/index.html".to_owned());
        for path in front.into_iter().chain((0..pages).map(page_path)).chain(last) {
            copy(&self.staging.join(&path), &instance.join(&path))?;
        }
        Ok(())
    }

    /// The pages that a client asks for, and what each must say.
    pub fn pages(&self) -> Vec<(String, String)> {
        (0..self.pages).map(|page| (format!("/{}", page_name(page)), page_text(page))).collect()
    }

    fn put(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.staging.join(path);
        fs::create_dir_all(path.parent().context("a file has a parent")?)?;
        fs::write(&path, content).with_context(|| path.display().to_string())
    }
}

/// Copies beside the target and renames: a reader sees the old file or the new one, never a part.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has a parent")?)?;
    let part = to.with_extension("part");
    fs::copy(from, &part).with_context(|| format!("copy {} to {}", from.display(), part.display()))?;
    fs::rename(&part, to).with_context(|| to.display().to_string())
}

fn page_name(page: usize) -> String {
    format!("product/{:02}/{page:04}.html", page % 12)
}

fn page_path(page: usize) -> String {
    format!("var/www/shop/{}", page_name(page))
}

fn page_text(page: usize) -> String {
    format!("<h1>product {page}</h1>\n<p>{} in stock</p>\n", page * 7 % 31)
}
