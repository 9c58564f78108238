//! SVG, where the operator allows it: drawn by resvg at the size that is asked for.
//!
//! Invariant: **a drawing reaches nothing outside itself** (no file, no network, no other SVG; images only as data URLs,
//! judged like any source), and its cost is weighed before it is drawn: expanded elements, depth, effects times pixels.

mod layers;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::roxmltree::{Document, Node, ParsingOptions};
use resvg::usvg::{self, ImageHrefResolver, ImageKind, Options, Tree};

use super::Picture;
use super::header::{Header, within};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};

/// Bytes of text; larger drawings take seconds to parse.
const MAX_BYTES: u64 = 4_000_000;
/// XML nodes as written.
const MAX_NODES: u32 = 200_000;
/// Elements after every reference (`use`, masks, patterns, …) is followed.
const MAX_WEIGHT: u64 = 200_000;
/// Nesting, references followed; drawing recurses.
const MAX_DEPTH: u32 = 256;
/// Layers and filter steps that elements need, references followed, times pixels drawn.
const MAX_EFFECT_PIXELS: u64 = 8_000_000_000;
/// Bytes of layers that may be there at once for a pixel drawn.
pub(in crate::imaging) const LAYERS: u64 = 16;
/// And however small it is.
pub(in crate::imaging) const SMALL_LAYERS: u64 = 32_000_000;
/// The drawing recurses deeper than a worker's stack allows.
const STACK: usize = 64 << 20;
/// Properties that make an element a layer of its own.
const EFFECTS: [&str; 4] = ["filter", "mask", "clip-path", "opacity"];
/// Effects whose cost grows with their parameters and not with the image.
const COSTLY: [&str; 3] = ["feTurbulence", "feMorphology", "feConvolveMatrix"];

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Svg, detail: detail.to_string() }
}

fn unsupported(detail: impl ToString) -> Error {
    Error::Unsupported { format: ImageFormat::Svg, detail: detail.to_string() }
}

/// Size in pixels, from the root's attributes as usvg reads them.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let size = on_a_deep_stack(|| Ok(parse(bytes, limits)?.0.size().to_int_size()))?;
    let (width, height) = (f64::from(size.width()), f64::from(size.height()));
    // A drawing has no pixels of its own: one that is larger than any image may be is one of the same shape that is not.
    let edge = f64::from(limits.max_edge) / width.max(height);
    let scale = (limits.max_pixels as f64 / (width * height)).sqrt().min(edge).min(1.0);
    let side = |side: f64| (side * scale).floor().max(1.0) as u32;
    // Layers of effects beside the canvas and the image.
    Ok(Header { working: 8 + LAYERS as u32, ..Header::still(side(width), side(height), true) })
}

/// Draws at exactly this size, aspect not kept: the caller has computed it.
pub(crate) fn draw(bytes: &[u8], width: u32, height: u32, limits: &Limits) -> Result<Picture, Error> {
    within("pixels", u64::from(width) * u64::from(height), limits.max_pixels)?;
    let pixmap = on_a_deep_stack(|| {
        let (tree, effects) = parse(bytes, limits)?;
        // A smaller one may cost little.
        let (value, limit) = (effects.saturating_mul(u64::from(width) * u64::from(height)), MAX_EFFECT_PIXELS);
        if value > limit {
            return Err(Error::OutputTooLarge { what: "SVG effects", value, limit });
        }
        let pixels = u64::from(width) * u64::from(height);
        let (value, limit) = (layers::live_bytes(&tree, width, height), pixels * LAYERS + SMALL_LAYERS);
        if value > limit {
            return Err(Error::OutputTooLarge { what: "memory of SVG layers", value, limit });
        }
        let mut pixmap = Pixmap::new(width, height).ok_or_else(|| malformed("an empty size"))?;
        let size = tree.size();
        let scale = Transform::from_scale(width as f32 / size.width(), height as f32 / size.height());
        resvg::render(&tree, scale, &mut pixmap.as_mut());
        Ok(pixmap)
    })?;
    let pixels = pixmap.pixels().iter().flat_map(|pixel| {
        let pixel = pixel.demultiply();
        [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()]
    });
    Ok(Picture { width, height, alpha: true, pixels: pixels.collect() }.without_opaque_alpha())
}

/// Runs `work` on a thread with a large stack; a panic there is a malformed drawing.
fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("pixgate-svg".to_owned()).stack_size(STACK);
        let handle = thread.spawn_scoped(scope, work).map_err(|error| malformed(format!("no thread: {error}")))?;
        handle.join().unwrap_or_else(|_| Err(Error::Panicked))
    })
}

/// The text, from UTF-16 where its mark says so.
fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Error> {
    let wide = |rest: &[u8], order: fn([u8; 2]) -> u16| {
        let units = rest.as_chunks::<2>().0.iter().map(|unit| order(*unit));
        // Some writers repeat the mark.
        let units: Vec<u16> = units.skip_while(|unit| *unit == 0xFEFF).collect();
        String::from_utf16(&units).map(Cow::Owned).map_err(|_| malformed("not UTF-16, as its mark says"))
    };
    match bytes {
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        _ => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| malformed("not UTF-8")),
    }
}

/// The text with the size that browsers give a drawing without any (CSS 2, section 10.3.2), where it has none.
fn with_size(text: &str, root: Node<'_, '_>) -> Option<String> {
    if ["width", "height", "viewBox"].iter().any(|name| root.has_attribute(*name)) {
        return None;
    }
    let start = root.range().start;
    let name = text.get(start..)?.find(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/'))?;
    let (before, after) = text.split_at(start + name);
    Some(format!("{before} width=\"300\" height=\"150\"{after}"))
}

/// The drawing, and how many of its elements need a layer.
fn parse(bytes: &[u8], limits: &Limits) -> Result<(Tree, u64), Error> {
    within("SVG bytes", bytes.len() as u64, MAX_BYTES)?;
    let text = text(bytes)?;
    // DTDs are common in exported drawings; roxmltree bounds entity expansion and resolves no external entity.
    let options = || ParsingOptions { allow_dtd: true, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let mut document = Document::parse_with_options(&text, options()).map_err(malformed)?;
    let sized;
    if let Some(text) = with_size(&text, document.root_element()) {
        sized = text;
        document = Document::parse_with_options(&sized, options()).map_err(malformed)?;
    }
    let weight = Scale::new(&document).weigh(document.root_element(), 0)?;
    within("SVG elements", weight.elements, MAX_WEIGHT)?;
    let budget = AtomicU64::new(limits.max_pixels / 4);
    let inner = limits.clone();
    let options = Options {
        image_href_resolver: ImageHrefResolver {
            resolve_data: Box::new(move |_, data, _| embedded(&data, &inner, &budget)),
            resolve_string: Box::new(|_, _| None),
        },
        fontdb: fonts(),
        ..Options::default()
    };
    let tree = Tree::from_xmltree(&document, &options).map_err(malformed)?;
    Ok((tree, weight.effects))
}

/// An image in a data URL: only raster formats resvg draws, and only what passes our own probe, within one budget.
fn embedded(data: &Arc<Vec<u8>>, limits: &Limits, budget: &AtomicU64) -> Option<ImageKind> {
    let limits = Limits { allow_svg: false, ..limits.clone() };
    let probe = crate::imaging::probe(data, &limits).ok()?;
    let pixels = u64::from(probe.width) * u64::from(probe.height);
    budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(pixels)).ok()?;
    let data = Arc::clone(data);
    match probe.format {
        ImageFormat::Jpeg => Some(ImageKind::JPEG(data)),
        ImageFormat::Png => Some(ImageKind::PNG(data)),
        ImageFormat::Gif => Some(ImageKind::GIF(data)),
        ImageFormat::Webp => Some(ImageKind::WEBP(data)),
        _ => None,
    }
}

/// The machine's fonts, read once.
fn fonts() -> Arc<usvg::fontdb::Database> {
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_system_fonts();
        Arc::new(fonts)
    };
    Arc::clone(FONTS.get_or_init(load))
}

/// What drawing an element comes to.
#[derive(Clone, Copy, Default)]
struct Weight {
    elements: u64,
    effects: u64,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.elements = self.elements.saturating_add(other.elements);
        self.effects = self.effects.saturating_add(other.effects);
    }
}

/// Weighs a drawing with its references followed, each element once.
struct Scale<'a> {
    by_id: HashMap<&'a str, Node<'a, 'a>>,
    known: HashMap<usize, Weight>,
    /// A style sheet may give any element effects.
    styled: bool,
}

impl<'a> Scale<'a> {
    fn new(document: &'a Document<'a>) -> Self {
        let nodes = || document.descendants().filter(|node| node.is_element());
        let by_id = nodes().filter_map(|node| Some((node.attribute("id")?, node))).collect();
        let mut sheets = nodes().filter(|node| node.tag_name().name() == "style").filter_map(|node| node.text());
        let styled = sheets.any(|sheet| EFFECTS.iter().any(|effect| sheet.contains(effect)));
        Self { by_id, known: HashMap::new(), styled }
    }

    fn weigh(&mut self, node: Node<'a, 'a>, depth: u32) -> Result<Weight, Error> {
        within("SVG depth", u64::from(depth), u64::from(MAX_DEPTH))?;
        let key = node.id().get_usize();
        if let Some(weight) = self.known.get(&key) {
            return Ok(*weight);
        }
        let name = node.tag_name().name();
        if COSTLY.contains(&name) {
            return Err(unsupported(format!("the effect {name}")));
        }
        // Within its own expansion an element weighs nothing, so that a cycle ends; usvg refuses or breaks it.
        self.known.insert(key, Weight::default());
        let mut weight = Weight { elements: 1, effects: u64::from(self.styled || name.starts_with("fe")) };
        for child in node.children().filter(Node::is_element) {
            weight.add(self.weigh(child, depth + 1)?);
        }
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            let effect =
                EFFECTS.contains(&name) || name == "style" && EFFECTS.iter().any(|effect| value.contains(effect));
            weight.effects = weight.effects.saturating_add(u64::from(effect));
            for id in references(value) {
                if let Some(target) = self.by_id.get(id).copied() {
                    weight.add(self.weigh(target, depth + 1)?);
                }
            }
        }
        self.known.insert(key, weight);
        Ok(weight)
    }
}

/// `#id` and `url(#id)` in an attribute.
fn references(value: &str) -> impl Iterator<Item = &str> {
    value.split('#').skip(1).map(|rest| rest.split([')', '"', '\'', ' ', ';']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { allow_svg: true, ..Limits::default() }
    }

    fn svg(body: &str) -> Vec<u8> {
        format!("<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' width='8' height='4'>{body}</svg>").into_bytes()
    }

    #[test]
    fn drawn_at_the_size_asked_for() {
        let red = svg("<rect width='4' height='4' fill='red'/>");
        let header = header(&red, &limits()).expect("a size");
        assert_eq!((header.width, header.height), (8, 4));
        let picture = draw(&red, 16, 8, &limits()).expect("drawn");
        assert!(picture.alpha);
        assert_eq!(picture.pixels[..4], [255, 0, 0, 255]);
        assert_eq!(picture.pixels[15 * 4..16 * 4], [0, 0, 0, 0]);
    }

    #[test]
    fn nothing_outside_is_reached() {
        let file = std::env::temp_dir().join("pixgate-svg-test.png");
        let mut png = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut png);
        image::ImageEncoder::write_image(encoder, &[255, 0, 0], 1, 1, image::ExtendedColorType::Rgb8).expect("a PNG");
        std::fs::write(&file, &png).expect("written");
        let path = file.display();
        for href in [format!("{path}"), format!("file://{path}")] {
            let drawing = svg(&format!("<image xlink:href='{href}' width='8' height='4'/>"));
            let picture = draw(&drawing, 8, 4, &limits()).expect("drawn");
            assert!(picture.pixels.iter().all(|value| *value == 0), "{href}");
        }
        use base64::Engine as _;
        let data = base64::engine::general_purpose::STANDARD.encode(&png);
        let drawing = svg(&format!("<image xlink:href='data:image/png;base64,{data}' width='8' height='8'/>"));
        let picture = draw(&drawing, 8, 4, &limits()).expect("drawn");
        assert!(picture.pixels.chunks_exact(4).any(|pixel| pixel[0] == 255), "a data URL is drawn");
    }

    #[test]
    fn bombs_are_weighed_before_they_are_drawn() {
        let doubling = |count: usize| {
            let uses =
                |at: usize| format!("<g id='g{at}'><use xlink:href='#g{0}'/><use xlink:href='#g{0}'/></g>", at + 1);
            (0..count).map(uses).collect::<String>() + &format!("<g id='g{count}'><rect width='1' height='1'/></g>")
        };
        assert!(draw(&svg(&doubling(5)), 8, 4, &limits()).is_ok());
        let refused = draw(&svg(&doubling(40)), 8, 4, &limits());
        assert!(matches!(refused, Err(Error::LimitExceeded { what: "SVG elements", .. })), "{refused:?}");
        let deep = "<g>".repeat(5000) + &"</g>".repeat(5000);
        let refused = draw(&svg(&deep), 8, 4, &limits());
        assert!(matches!(refused, Err(Error::LimitExceeded { what: "SVG depth", .. })), "{refused:?}");
        let noise = "<filter id='f'><feTurbulence numOctaves='999999999'/></filter><rect filter='url(#f)' width='8' height='4'/>";
        assert!(matches!(draw(&svg(noise), 8, 4, &limits()), Err(Error::Unsupported { .. })));
        let blurs = format!(
            "<filter id='f'>{}</filter><rect filter='url(#f)' width='8' height='4'/>",
            "<feGaussianBlur stdDeviation='9'/>".repeat(300)
        );
        assert!(draw(&svg(&blurs), 8, 4, &limits()).is_ok());
        let refused = draw(&svg(&blurs), 8000, 4000, &limits());
        assert!(matches!(refused, Err(Error::OutputTooLarge { what: "SVG effects", .. })), "{refused:?}");
        // Each draws, so that none is left out.
        let open = "<g opacity='0.9'><rect width='8' height='4'/>".repeat(200);
        let layers = format!("{open}{}", "</g>".repeat(200));
        assert!(draw(&svg(&layers), 64, 32, &limits()).is_ok());
        let refused = draw(&svg(&layers), 2000, 1000, &limits());
        assert!(matches!(refused, Err(Error::OutputTooLarge { what: "memory of SVG layers", .. })), "{refused:?}");
        let laughs = "<!DOCTYPE svg [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>]><svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'><text>&d;</text></svg>";
        // Bounded by the parser; what matters is that it ends.
        let _ = draw(laughs.as_bytes(), 1, 1, &limits());
        let cycle = svg("<g id='a'><use xlink:href='#b'/></g><g id='b'><use xlink:href='#a'/></g>");
        // Refused by the parser today; what matters is that it ends.
        let _ = draw(&cycle, 8, 4, &limits());
    }
}
