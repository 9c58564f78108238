//! What a drawing holds beside its canvas while it is drawn: layers within layers.
//!
//! Invariant: it is known before anything is drawn, at the size that is drawn, and never too low: masks, clips and steps of
//! filters are as large as the layer they are of.

use resvg::usvg::{Group, Node, Tree};

/// Bytes of a pixel of a layer.
const PIXEL: f64 = 4.0;
/// How far a layer may go beyond the canvas on each side, in canvases: as far as resvg lets it.
const BEYOND: f64 = 2.0;

/// Bytes of the layers that are there at once, at most.
pub(super) fn live_bytes(tree: &Tree, width: u32, height: u32) -> u64 {
    let size = tree.size();
    let (width, height) = (f64::from(width), f64::from(height));
    let scale = (width / f64::from(size.width()), height / f64::from(size.height()));
    Canvas { width, height, scale }.group(tree.root()).ceil() as u64
}

struct Canvas {
    width: f64,
    height: f64,
    scale: (f64, f64),
}

impl Canvas {
    fn group(&self, group: &Group) -> f64 {
        let within = group.children().iter().map(|node| self.node(node)).fold(0.0, f64::max);
        within + if group.should_isolate() { self.layer(group) } else { 0.0 }
    }

    fn node(&self, node: &Node) -> f64 {
        let own = match node {
            Node::Group(group) => self.group(group),
            Node::Text(text) => self.group(text.flattened()),
            Node::Path(_) | Node::Image(_) => 0.0,
        };
        // Masks, clips, patterns and drawings within drawings are drawn on a canvas of their own.
        let mut beside = 0.0_f64;
        node.subroots(|root| beside = beside.max(self.group(root) + self.width * self.height * PIXEL));
        own + beside
    }

    fn layer(&self, group: &Group) -> f64 {
        let bounds = group.abs_layer_bounding_box();
        let edge = |from: f32, to: f32, scale: f64, canvas: f64| {
            let (from, to) = (f64::from(from) * scale, f64::from(to) * scale);
            (to.min(canvas * (1.0 + BEYOND)) - from.max(-canvas * BEYOND)).max(0.0) + 4.0
        };
        let area = edge(bounds.left(), bounds.right(), self.scale.0, self.width)
            * edge(bounds.top(), bounds.bottom(), self.scale.1, self.height);
        // The source of a filter, its result, and what each step makes.
        let steps: usize = group.filters().iter().map(|filter| filter.primitives().len() + 2).sum();
        let beside = usize::from(group.mask().is_some()) + usize::from(group.clip_path().is_some());
        area * PIXEL * (1 + steps + beside) as f64
    }
}

#[cfg(test)]
mod tests {
    use resvg::usvg::Options;

    use super::*;

    fn live(body: &str) -> u64 {
        let text = format!("<svg xmlns='http://www.w3.org/2000/svg' width='100' height='50'>{body}</svg>");
        let tree = Tree::from_str(&text, &Options::default()).expect("a drawing");
        live_bytes(&tree, 1_000, 500) / 2_000_000
    }

    /// Each pair draws, so that none is left out.
    fn nested(depth: usize) -> String {
        let open = "<g opacity='0.9'><rect width='100' height='50'/>".repeat(depth);
        format!("{open}{}", "</g>".repeat(depth))
    }

    #[test]
    fn layers_within_layers_are_counted_and_those_beside_each_other_are_not() {
        assert_eq!(live("<rect width='100' height='50'/>"), 0);
        assert_eq!(live(&nested(20)), 20);
        assert_eq!(live(&nested(1).repeat(20)), 1);
        let small = "<g opacity='0.5'><rect width='10' height='5'/><rect x='5' width='10' height='5'/></g>";
        assert_eq!(live(small), 0, "a layer is as large as what is in it");
        let filter = "<filter id='f'><feGaussianBlur stdDeviation='1'/><feOffset dx='1'/></filter>\
                      <rect filter='url(#f)' width='100' height='50'/>";
        assert!((5..=9).contains(&live(filter)), "{}", live(filter));
    }
}
