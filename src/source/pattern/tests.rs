use super::*;
use std::collections::HashMap;
#[test]
fn differential() {
    let cases: Vec<(String, String, String, bool)> = serde_json::from_str(&std::fs::read_to_string("/tmp/pm/cases.json").unwrap()).unwrap();
    let mut globs: HashMap<(String, String), Option<Glob>> = HashMap::new();
    let mut bad: HashMap<String, Vec<String>> = HashMap::new();
    let (mut n, mut refused) = (0, 0);
    for (kind, p, t, want) in cases {
        let g = globs.entry((kind.clone(), p.clone())).or_insert_with(|| { let g = if kind == "h" { Glob::hostname(&p) } else { Glob::pathname(&p) }; if let Err(e) = &g { println!("refused {p}: {e}"); refused += 1; } g.ok() });
        let Some(g) = g else { continue };
        if g.matches(&t) != want { n += 1; bad.entry(format!("{kind} {p}")).or_default().push(format!("{t} want {want}")); }
    }
    let sources: Vec<(String, String, String)> = serde_json::from_str(&std::fs::read_to_string("/tmp/pm/sources.json").unwrap()).unwrap();
    let by: HashMap<(String, String), Glob> = sources.into_iter().map(|(k, p, s)| ((k, p.clone()), Glob::regex(&s).unwrap_or_else(|e| panic!("{p} {s} {e}")))).collect();
    let cases: Vec<(String, String, String, bool)> = serde_json::from_str(&std::fs::read_to_string("/tmp/pm/cases.json").unwrap()).unwrap();
    for (kind, p, t, want) in cases { if let Some(g) = by.get(&(kind, p.clone())) { assert_eq!(g.matches(&t), want, "regex {p} {t}"); } }
    let mut bad: Vec<_> = bad.into_iter().collect(); bad.sort();
    for (p, l) in bad.iter().take(60) { println!("{p}: {} {:?}", l.len(), &l[..l.len().min(4)]); }
    println!("{} patterns differ, {n} cases, refused {refused} of {}", bad.len(), globs.len());
    assert!(bad.is_empty());
}
