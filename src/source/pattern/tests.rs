//! Tables of what picomatch 4 answers (`makeRe`, with `dot: true` for paths), nextjs-contract.md §1.5 first, then the quirks
//! that a port could lose.

use super::*;

type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const HOSTS: &[Row] = &[
    (
        "**.example.com",
        &["sub.example.com", "a.b.example.com"],
        &["example.com", ".example.com", "example.com.evil.test"],
    ),
    (
        "*.example.com",
        &["a.example.com", "a.b.example.com"],
        &["example.com", "a.example.com.evil.test", "aexample.com"],
    ),
    ("*", &["localhost", "a.b.c"], &[".a"]),
    ("**", &["localhost", "a.b.c"], &[".a"]),
    (
        "avatars.*.example.com",
        &["avatars.sfo1.example.com", "avatars.a.b.example.com", "avatars..example.com"],
        &["avatars.example.com", "more.avatars.iad1.example.com"],
    ),
    ("{a,b}.x", &["a.x", "b.x"], &["c.x", "ab.x", "{a,b}.x"]),
    ("a{b,c{d,e}}f", &["abf", "acdf", "acef"], &["acf", "abdf"]),
    ("{1..3}.x", &["1.x", "3.x"], &["4.x", "13.x"]),
    ("{a}", &["{a}"], &["a"]),
    ("[ab].x", &["a.x", "b.x", "[ab].x"], &["c.x", "ab.x"]),
    ("[^a]b", &["bb", "1b"], &["ab", "b"]),
    ("[!a]b", &["ab", "!b"], &["bb"]),
    ("[[:alpha:]][0-9-]", &["a1", "a-"], &["11", "ab"]),
    ("[::1]", &["[::1]", "1", ":"], &["::1"]),
    ("+(a|b).x", &["a.x", "abab.x"], &[".x", "c.x"]),
    ("@(a|b)*.x", &["a.x", "bcd.x"], &["c.x"]),
    ("?(a).x", &["a.x", ".x"], &["aa.x", "b.x"]),
    ("*(ab|c).x", &[".x", "abc.x", "cab.x"], &["a.x"]),
    ("!(evil).com", &["good.com"], &["evil.com", "evilx.com", "good.org"]),
    ("!(*.evil).com", &["evil.com", "a.b.com"], &["a.evil.com"]),
    ("!evil.com", &["good.com", "a.evil.com"], &["evil.com"]),
    ("!!a.x", &["a.x"], &["b.x"]),
    ("a?b", &["axb", "a.b"], &["ab", "axxb"]),
    ("?.x", &["a.x"], &["..x", "ab.x"]),
    ("(a|b)+.x", &["a.x", "abb.x"], &["c.x"]),
    ("a|b", &["a|b"], &["a", "b"]),
    ("img\\*.x", &["img*.x"], &["img1.x"]),
    ("\"a*\".x", &["a*.x"], &["ab.x"]),
    ("Example.com", &[], &["example.com"]),
];

const PATHS: &[Row] = &[
    ("**", &["/", "/a/b", "/.x"], &["/..", "/a/../b", "/a/./b"]),
    ("/a/**", &["/a", "/a/", "/a/b/c", "/a/.x", "/a/%2e%2e/b"], &["/ab", "/a/../b", "/b/a", "/a/.."]),
    ("/a/*", &["/a/b", "/a/.b", "/a/b/"], &["/a/", "/a/b/c", "/a/..", "/a/."]),
    ("/a/**/c.png", &["/a/c.png", "/a/x/y/c.png"], &["/c.png", "/a/x/d.png", "/a/../c.png"]),
    ("/a**", &["/a", "/ab", "/a/"], &["/abc/d", "/b"]),
    ("/A/*", &["/A/b"], &["/a/b"]),
    ("/**", &["/", "/a/b", "/.x/y"], &["/..", "/a/../b"]),
    ("/**/x/**", &["/a/x", "/a/x/b", "/a/b/x/c"], &["/x", "/a/xx"]),
    ("/a/**/*.png", &["/a/b.png", "/a/b/c/d.png"], &["/a/b.jpg", "/b.png", "/a/../b.png"]),
    ("**/*.png", &["/b.png", "/a/b.png"], &["/a/b.jpg"]),
    ("**.png", &["/b.png", "/a/b.png"], &["/a/b.jpg"]),
    ("/a/**.png", &["/a/b.png"], &["/a/b/c.png"]),
    ("/a/*/**", &["/a/b/", "/a/b/c"], &["/a/b", "/a/"]),
    ("/{a,b}/**", &["/a/x", "/b"], &["/c/x", "/ab"]),
    ("/a/?.png", &["/a/b.png", "/a/..png"], &["/a/bb.png", "/a//.png"]),
    ("/!(private)/**", &["/public/x"], &["/private/x", "/privatex/x"]),
    ("/!(*.gif)", &["/a.png"], &["/a.gif", "/a/b.png"]),
    ("/!(*.d).ts", &["/foo.ts"], &["/foo.d.ts"]),
    ("!/a/**", &["/b/c"], &["/a", "/a/b"]),
    ("/a/@(*.png|*.jpg)", &["/a/b.png", "/a/b.jpg"], &["/a/b.gif", "/a/b/c.png"]),
    ("/a/***", &["/a/b", "/a/"], &["/a/b/c"]),
    ("/@(a|b)/**/c", &["/a/c", "/b/x/c"], &["/c/c", "/ac"]),
    ("/v[0-9]/**", &["/v1/x"], &["/vx/x", "/v10/x"]),
    ("/a/[^b]*", &["/a/c", "/a/cd"], &["/a/b", "/a/"]),
    ("/a/x+", &["/a/x+"], &["/a/xx"]),
];

fn check(rows: &[Row], compile: impl Fn(&str) -> Result<Glob, PatternError>) {
    for (pattern, yes, no) in rows {
        let glob = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(glob.as_str(), *pattern);
        for text in *yes {
            assert!(glob.matches(text), "{pattern} matches {text}");
        }
        for text in *no {
            assert!(!glob.matches(text), "{pattern} does not match {text}");
        }
    }
}

#[test]
fn hostnames_match_as_in_nextjs() {
    check(HOSTS, Glob::hostname);
}

#[test]
fn pathnames_match_as_in_nextjs() {
    check(PATHS, Glob::pathname);
}

#[test]
fn the_manifests_regular_expressions_run() {
    const DOUBLE_STAR: &str = r"^(?:(?!(?:^|\/)\.{1,2}(?:\/|$))(?:(?:(?!(?:^|\/)\.{1,2}(?:\/|$)).)*?)\/?)$";
    const UNDER_A: &str = r"^(?:\/a(?:\/(?!\.{1,2}(?:\/|$))(?:(?:(?!(?:^|\/)\.{1,2}(?:\/|$)).)*?)|$))$";
    check(
        &[
            (DOUBLE_STAR, &["/", "/a/b", "/.x"], &["/..", "/a/../b"]),
            (UNDER_A, &["/a", "/a/", "/a/b/c"], &["/ab", "/a/../b"]),
            (
                r"^(?:(?!\.)(?=.)[^/]*?\.example\.com\/?)$",
                &["a.example.com"],
                &["example.com", "a.example.com.evil.test"],
            ),
            (r"^(?!^(?:evil\.com)$).*$", &["good.com"], &["evil.com"]),
            (r"^(?:(?:\[ab\]|[ab])\.x)$", &["a.x", "[ab].x"], &["c.x"]),
            // Class members that a Rust class would take for operators.
            (r"^[[&&~~a]b$", &["[b", "&b", "~b", "ab"], &["b", "cb"]),
            // Written by hand, without anchors: the whole text is still what must match.
            (r"example\.com", &["example.com"], &["example.com.evil.test", "my-example.com"]),
        ],
        Glob::regex,
    );
}

#[test]
fn a_pattern_that_admits_any_host_is_known_however_it_is_written() {
    for pattern in ["*", "**", "***", "*.*", "**.**", "?*", "+(*)", "@(*)", "{*,a}", "!evil.com", "!(evil.com)", "*(?)"]
    {
        assert!(Glob::hostname(pattern).expect("a pattern").is_any_host(), "{pattern}");
    }
    for source in [r"^(?:(?!\.)(?=.)[^/]*?\/?)$", r"^(?:(?!\.)(?:(?:(?!(?:^|\/)\.).)*?)\/?)$", ".*", ".+", "[^x]*|x?.*"]
    {
        assert!(Glob::regex(source).expect("a pattern").is_any_host(), "{source}");
    }
    for pattern in ["*.com", "**.example.com", "{a,b}.test", "example.*", "+([0-9]).x", "localhost"] {
        assert!(!Glob::hostname(pattern).expect("a pattern").is_any_host(), "{pattern}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_at_start() {
    for pattern in
        ["", "!", "{a,b", "(a", "+(a", "[a", "\"a", "a\\", "\\d.x", "(?=a)", "[z-a]", "{01..10}", "[[:nope:]]"]
    {
        assert!(Glob::hostname(pattern).is_err(), "{pattern}");
    }
    assert!(Glob::hostname(&"(".repeat(MAX_PATTERN)).is_err());
    assert_eq!(Glob::hostname(&"a".repeat(MAX_PATTERN + 1)).err(), Some(PatternError::TooLong));
    for source in ["", "(", "[]", "*a", "(?<n"] {
        assert!(Glob::regex(source).is_err(), "{source}");
    }
}

#[test]
fn hostile_texts_cannot_make_a_match_slow() {
    // Each of these takes a backtracking matcher exponential time; that this test ends is the assertion.
    let text = "a".repeat(3000);
    for pattern in ["*(*(a|aa)*)*b", "+(a|aa|+(a))b", "*a*a*a*a*a*a*a*a*a*b", "!(*(a|aa)b)c", "*(!(*(a)b)|a)c"] {
        assert!(!Glob::hostname(pattern).expect("a pattern").matches(&text), "{pattern}");
    }
    // Past the bound nothing matches, not even the opposite.
    assert!(!Glob::hostname("!*(!(*(!(b)))|a)c").expect("a pattern").matches(&text));
    let path = "/a".repeat(1500);
    assert!(!Glob::pathname("/**/a/**/a/**/a/**/b").expect("a pattern").matches(&path));
    assert!(!Glob::regex("(?:(?:a|aa)+)+(?=b)b").expect("a pattern").matches(&text));
}
