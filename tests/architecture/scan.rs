//! Which paths a Rust source names, and what it defines: enough of a lexer and of `use` trees, and nothing
//! more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// First segment of a path within the crate.
pub(crate) const CRATE: &str = "crate";

/// What reading the wall clock is called, whatever it is called on. A point in time is a plain value.
pub(crate) const CLOCK: &str = "std::time::SystemTime::now";

/// Folder of tests, and name of a module of tests.
const TESTS: &str = "tests";

/// Sources of one crate, with the paths that they name.
pub(crate) struct Crate {
    pub(crate) sources: Vec<Source>,
    /// Where each module is.
    modules: BTreeMap<Vec<String>, usize>,
}

/// One file.
pub(crate) struct Source {
    /// Below `src`, with `/`.
    pub(crate) file: String,
    /// Its module, from the crate's root.
    pub(crate) module: Vec<String>,
    pub(crate) named: Vec<Named>,
    /// Items of the file itself, and what kind each is (`struct`, `fn`, …).
    pub(crate) defines: BTreeMap<String, String>,
    /// What would let it name things unseen.
    pub(crate) opaque: Vec<String>,
    /// Names that `use` brings in, and what they stand for.
    aliases: BTreeMap<String, Vec<String>>,
}

/// A path that a source names.
pub(crate) struct Named {
    /// From the crate's root (`crate`, `reactor`, …; re-exports of the root resolved) or from
    /// another crate's name.
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// A glob, or a module or crate under a name of its own: its members may be named unseen.
    pub(crate) hides_members: bool,
    /// In a module of tests.
    is_test: bool,
    /// It is only passed on: no use of it in this file.
    is_passed_on: bool,
}

impl Crate {
    /// From `(file, text)`; one of them is `lib.rs`.
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources: Vec<_> = files.into_iter().map(|(file, text)| scan(file, text)).collect();
        let lib = sources.iter().find(|source| source.file == "lib.rs").expect("a lib.rs");
        // What the root re-exports, under its name there.
        let exports = lib.aliases.clone();
        for source in &mut sources {
            for named in &mut source.named {
                if named.path[0] == CRATE
                    && let Some(target) = named.path.get(1).and_then(|name| exports.get(name))
                {
                    named.path.splice(..2, target.iter().cloned());
                }
            }
        }
        let modules = sources.iter().enumerate().map(|(i, s)| (s.module.clone(), i)).collect();
        Self { sources, modules }
    }

    /// The file that defines what the path names, however many others pass it on. `None`: a module, or
    /// nothing of this crate.
    fn definer(&self, path: &[String]) -> Option<(&Source, String)> {
        let mut path = path.to_vec();
        // A circle of re-exports is no crate.
        for _ in 0..16 {
            let rest = path.strip_prefix(&[CRATE.to_owned()])?;
            let module = |n: usize| self.modules.get(&rest[..n]).map(|i| (n, &self.sources[*i]));
            let (n, source) = (0..=rest.len()).rev().find_map(module)?;
            let item = rest.get(n)?;
            if source.defines.contains_key(item) {
                return Some((source, item.clone()));
            }
            path = source.aliases.get(item)?.iter().chain(&rest[n + 1..]).cloned().collect();
        }
        None
    }

    /// Circles of files of which each names what the next one defines, tests and the root apart; the
    /// shortest ones.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut names = BTreeMap::<&str, BTreeMap<&str, String>>::new();
        for source in self.sources.iter().filter(|s| s.file != "lib.rs" && !s.is_test()) {
            for named in source.named.iter().filter(|n| !n.is_test && !n.is_passed_on) {
                // A glob is of the module itself.
                let module = named.path.get(1..).and_then(|module| self.modules.get(module));
                let module = module.filter(|_| named.hides_members);
                let all = module.map(|i| (&self.sources[*i], "all".to_owned()));
                let Some((whose, what)) = self.definer(&named.path).or(all) else { continue };
                if whose.file != source.file {
                    names.entry(&source.file).or_default().insert(&whose.file, what);
                }
            }
        }
        names.keys().filter_map(|start| circle(start, &names)).collect()
    }
}

/// A shortest way from the file back to it, over files that come after it.
fn circle(start: &str, names: &BTreeMap<&str, BTreeMap<&str, String>>) -> Option<String> {
    let (mut seen, mut ways) = (BTreeSet::new(), VecDeque::from([(start, start.to_owned())]));
    while let Some((file, way)) = ways.pop_front() {
        for (next, what) in names.get(file).into_iter().flatten() {
            let way = format!("{way} names {what} of {next}");
            if *next == start {
                return Some(way);
            }
            if *next > start && seen.insert(*next) {
                ways.push_back((next, way + ", which"));
            }
        }
    }
    None
}

impl Source {
    /// Whether it is for tests only, by where it is.
    pub(crate) fn is_test(&self) -> bool {
        self.module.iter().any(|module| module == TESTS)
    }
}

fn scan(file: &str, text: &str) -> Source {
    let mut module: Vec<String> =
        file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    let tokens = lex(text);
    let mut scanner = Scanner {
        tokens: &tokens,
        at: 0,
        module: module.clone(),
        inline: Vec::new(),
        depth: 0,
        leaves: Vec::new(),
        named: Vec::new(),
        defines: BTreeMap::new(),
        opaque: Vec::new(),
        aliases: BTreeMap::new(),
        modules: Vec::new(),
        passed_on: Vec::new(),
        words: BTreeSet::new(),
    };
    scanner.run();
    let Scanner { mut named, defines, opaque, mut aliases, modules, passed_on, words, .. } =
        scanner;
    for (i, name) in passed_on {
        named[i].is_passed_on = !words.contains(&name);
    }
    named.extend(clock_reads(&tokens));
    let paths = named.iter_mut().map(|named| &mut named.path).chain(aliases.values_mut());
    // A module of this file goes by its name alone.
    for path in paths.filter(|path| modules.contains(&path[0])) {
        path.splice(..0, std::iter::once(CRATE.to_owned()).chain(module.iter().cloned()));
    }
    Source { file: file.to_owned(), module, named, defines, opaque, aliases }
}

/// `X::now`, and `.elapsed`, which asks a clock, too.
fn clock_reads(tokens: &[(Token, usize)]) -> impl Iterator<Item = Named> {
    tokens.windows(2).filter_map(|pair| {
        let [(before, _), (Token::Ident(word), line)] = pair else { return None };
        let reads = match before {
            Token::Separator => word == "now" || word == "elapsed",
            _ => *before == Token::Mark('.') && word == "elapsed",
        };
        let path = CLOCK.split("::").map(str::to_owned).collect();
        let (line, hides_members, is_test, is_passed_on) = (*line, false, false, false);
        reads.then_some(Named { path, line, hides_members, is_test, is_passed_on })
    })
}

#[derive(Debug, PartialEq)]
enum Token {
    Ident(String),
    /// `::`
    Separator,
    /// `'a`, a number, a string: no path.
    Other,
    Mark(char),
}

struct Scanner<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    /// Where we are, inline modules included.
    module: Vec<String>,
    /// Depth of braces at which each inline module began.
    inline: Vec<usize>,
    depth: usize,
    leaves: Vec<Leaf>,
    named: Vec<Named>,
    defines: BTreeMap<String, String>,
    opaque: Vec<String>,
    aliases: BTreeMap<String, Vec<String>>,
    /// Modules that the file declares.
    modules: Vec<String>,
    /// Which of `named` are re-exports, and under which names.
    passed_on: Vec<(usize, String)>,
    /// Names that the file uses, outside of tests.
    words: BTreeSet<String>,
}

/// One path of a `use`.
struct Leaf {
    path: Vec<String>,
    /// What it is called from there on; `None` for a glob.
    name: Option<String>,
    is_renamed: bool,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some((token, line)) = self.tokens.get(self.at) {
            let before = self.at.checked_sub(1).map(|i| &self.tokens[i].0);
            self.at += 1;
            match token {
                Token::Mark('{') => self.depth += 1,
                Token::Mark('}') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.inline.last() == Some(&self.depth) {
                        self.inline.pop();
                        self.module.pop();
                    }
                }
                Token::Ident(word) if before == Some(&Token::Mark('.')) => _ = word,
                Token::Ident(word) if word == "use" => {
                    // `pub use`, `pub(super) use`.
                    let is_public = matches!(before, Some(Token::Mark(')')))
                        || matches!(before, Some(Token::Ident(word)) if word == "pub");
                    self.use_item(is_public, *line);
                }
                Token::Ident(word) if word == "mod" => self.mod_item(),
                Token::Ident(word) if word == "extern" && self.is_ident(0, "crate") => {
                    self.opaque.push("`extern crate` hides a name".into());
                }
                Token::Ident(word) if word == "include" && self.is(0, &Token::Mark('!')) => {
                    self.opaque.push("`include!` hides a source".into());
                }
                Token::Ident(word) if word == "path" && before == Some(&Token::Mark('[')) => {
                    self.opaque.push("`#[path]` hides where a module is".into());
                }
                Token::Ident(word) => {
                    self.item(word);
                    self.path(vec![word.clone()], *line);
                }
                // A path from the outside, `::std::thread`.
                Token::Separator if !matches!(before, Some(Token::Ident(_) | Token::Mark('>'))) => {
                    if let Some((Token::Ident(word), _)) = self.tokens.get(self.at) {
                        self.at += 1;
                        self.path(vec![word.clone()], *line);
                    }
                }
                _ => {}
            }
        }
    }

    fn is(&self, ahead: usize, token: &Token) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|(found, _)| found == token)
    }

    fn is_ident(&self, ahead: usize, word: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some((Token::Ident(found), _)) if found == word)
    }

    fn next_ident(&mut self) -> Option<String> {
        let Some((Token::Ident(word), _)) = self.tokens.get(self.at) else { return None };
        self.at += 1;
        Some(word.clone())
    }

    fn take(&mut self, token: &Token) -> bool {
        let is = self.is(0, token);
        self.at += usize::from(is);
        is
    }

    /// Something that the file itself defines, if an item begins with this word.
    fn item(&mut self, word: &str) {
        if self.depth > 0 {
            return;
        }
        let ahead = match word {
            "struct" | "enum" | "trait" | "union" | "type" | "const" | "static" | "fn" => 0,
            "macro_rules" => 1,
            _ => return,
        };
        if let Some((Token::Ident(name), _)) = self.tokens.get(self.at + ahead) {
            self.defines.insert(name.clone(), word.to_owned());
        }
    }

    fn is_test(&self) -> bool {
        self.module.iter().any(|module| module == TESTS)
    }

    fn mod_item(&mut self) {
        let Some(name) = self.next_ident() else { return };
        if self.take(&Token::Mark('{')) {
            self.inline.push(self.depth);
            self.depth += 1;
            self.module.push(name);
        } else {
            self.modules.push(name);
        }
    }

    /// A path outside of a `use`, of which the first segment is read.
    fn path(&mut self, mut path: Vec<String>, line: usize) {
        while self.is(0, &Token::Separator)
            && matches!(self.tokens.get(self.at + 1), Some((Token::Ident(_), _)))
        {
            self.at += 1;
            path.extend(self.next_ident());
        }
        if path.len() == 1 && !["crate", "super"].contains(&path[0].as_str()) {
            if !self.is_test() {
                self.words.extend(path);
            }
            return;
        }
        // `pub(crate)` and `pub(super)` name nothing.
        if path.len() == 1 && self.is(0, &Token::Mark(')')) {
            return;
        }
        let path = match self.aliases.get(&path[0]) {
            Some(target) => target.iter().cloned().chain(path.drain(1..)).collect(),
            None => path,
        };
        self.name(path, line, false);
    }

    fn use_item(&mut self, is_public: bool, line: usize) {
        // `use<'a>` is a bound, not an item.
        if self.is(0, &Token::Mark('<')) {
            return;
        }
        self.take(&Token::Separator);
        self.use_tree(&[]);
        for Leaf { path, name, is_renamed } in std::mem::take(&mut self.leaves) {
            let absolute = self.absolute(path);
            if let Some(name) = &name {
                self.aliases.insert(name.clone(), absolute.clone());
                if is_public {
                    self.passed_on.push((self.named.len(), name.clone()));
                }
            }
            self.name(absolute, line, name.is_none() || is_renamed);
        }
    }

    fn use_tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        loop {
            if self.take(&Token::Mark('*')) {
                self.leaves.push(Leaf { path, name: None, is_renamed: false });
                return;
            }
            if self.take(&Token::Mark('{')) {
                while !self.take(&Token::Mark('}')) && self.at < self.tokens.len() {
                    self.use_tree(&path);
                    self.take(&Token::Mark(','));
                }
                return;
            }
            let Some(word) = self.next_ident() else {
                self.at += 1;
                return;
            };
            // `{self}` is the module itself; a leading `self::` is where we are.
            if word != "self" || path.is_empty() {
                path.push(word);
            }
            if !self.take(&Token::Separator) {
                break;
            }
        }
        let mut name = path.last().cloned();
        let mut is_renamed = false;
        if self.is_ident(0, "as") {
            self.at += 1;
            name = self.next_ident();
            is_renamed = true;
        }
        self.leaves.push(Leaf { path, name, is_renamed });
    }

    fn name(&mut self, path: Vec<String>, line: usize, hides_members: bool) {
        let path = self.absolute(path);
        let is_test = self.is_test();
        self.named.push(Named { path, line, hides_members, is_test, is_passed_on: false });
    }

    /// With `self` and `super` resolved.
    fn absolute(&mut self, path: Vec<String>) -> Vec<String> {
        if !["self", "super"].contains(&path[0].as_str()) {
            return path;
        }
        let mut base = self.module.clone();
        let mut rest = path.as_slice();
        while let Some((first, more)) = rest.split_first() {
            match first.as_str() {
                "self" => {}
                "super" => {
                    if base.pop().is_none() {
                        self.opaque.push("`super` above the root".into());
                    }
                }
                _ => break,
            }
            rest = more;
        }
        std::iter::once(CRATE.to_owned()).chain(base).chain(rest.iter().cloned()).collect()
    }
}

/// Tokens and their lines, without comments and the contents of literals.
fn lex(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        let token = match (get(i), get(i + 1)) {
            (c, _) if c.is_whitespace() => {
                i += 1;
                None
            }
            ('/', '/') => {
                while i < chars.len() && get(i) != '\n' {
                    i += 1;
                }
                None
            }
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (get(i), get(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break None;
                    }
                }
            }
            ('"', _) => {
                i = string_end(&chars, i + 1, '"');
                Some(Token::Other)
            }
            ('\'', next) => {
                // A lifetime has no closing quote behind its first character.
                if next != '\\' && get(i + 2) != '\'' {
                    i += 1;
                    while is_word(get(i)) {
                        i += 1;
                    }
                } else {
                    i = string_end(&chars, i + 1, '\'');
                }
                Some(Token::Other)
            }
            (':', ':') => {
                i += 2;
                Some(Token::Separator)
            }
            (c, _) if is_word(c) => {
                while is_word(get(i)) {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                literal_end(&chars, &word, i).map_or_else(
                    || {
                        let is_number = c.is_ascii_digit();
                        Some(if is_number { Token::Other } else { Token::Ident(word.clone()) })
                    },
                    |end| {
                        i = end;
                        // `r#name` is the name.
                        let is_raw_name =
                            word == "r" && get(start + 1) == '#' && is_word(get(start + 2));
                        if is_raw_name { None } else { Some(Token::Other) }
                    },
                )
            }
            (c, _) => {
                i += 1;
                Some(Token::Mark(c))
            }
        };
        tokens.extend(token.map(|token| (token, line)));
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Every name in the source, comments and texts apart.
pub(crate) fn words(text: &str) -> BTreeSet<String> {
    let word = |(token, _)| match token {
        Token::Ident(word) => Some(word),
        _ => None,
    };
    lex(text).into_iter().filter_map(word).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Behind the closing quote.
fn string_end(chars: &[char], mut i: usize, quote: char) -> usize {
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The end of a literal of which `word` is the prefix; for `r#name`, where the name begins.
fn literal_end(chars: &[char], word: &str, at: usize) -> Option<usize> {
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    match (word, get(at)) {
        ("b" | "c", '"') => Some(string_end(chars, at + 1, '"')),
        ("b", '\'') => Some(string_end(chars, at + 1, '\'')),
        ("r" | "br" | "cr", '"' | '#') => {
            let hashes = (at..).take_while(|&i| get(i) == '#').count();
            if get(at + hashes) != '"' {
                return (word == "r").then_some(at + 1);
            }
            let mut i = at + hashes + 1;
            while i < chars.len() {
                if get(i) == '"' && (1..=hashes).all(|n| get(i + n) == '#') {
                    return Some(i + 1 + hashes);
                }
                i += 1;
            }
            Some(i)
        }
        _ => None,
    }
}
