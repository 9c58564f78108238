//! The canvas animations are drawn on: every frame that leaves it is the whole image.
//!
//! GIF and APNG share the model: a frame is placed, shown, and then kept, cleared away, or undone.

use std::time::Duration;

/// What becomes of a frame before the next is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dispose {
    Keep,
    Clear,
    Undo,
}

/// A rectangle of RGBA pixels, straight alpha, and where it goes.
pub(super) struct Patch<'a> {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rgba: &'a [u8],
    /// Laid over what is there, or put in its place.
    pub(super) over: bool,
    pub(super) dispose: Dispose,
}

/// RGBA, transparent at first.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    saved: Vec<u8>,
    last: Option<(Dispose, [u32; 4])>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let pixels = vec![0; width as usize * height as usize * 4];
        Self { width, height, pixels, saved: Vec::new(), last: None }
    }

    /// Disposes of the last frame, draws this one, and returns the whole canvas. What lies outside is cut off.
    pub(super) fn draw(&mut self, patch: &Patch<'_>) -> &[u8] {
        match self.last.take() {
            Some((Dispose::Clear, rectangle)) => self.rows(rectangle, |_, line| line.fill(0)),
            Some((Dispose::Undo, _)) => self.pixels.copy_from_slice(&self.saved),
            Some((Dispose::Keep, _)) | None => {}
        }
        if patch.dispose == Dispose::Undo {
            self.saved.clone_from(&self.pixels);
        }
        let rectangle = [patch.left, patch.top, patch.width, patch.height];
        let stride = patch.width as usize * 4;
        self.rows(rectangle, |row, line| {
            let source = &patch.rgba[row * stride..][..line.len()];
            if patch.over {
                line.chunks_exact_mut(4).zip(source.chunks_exact(4)).for_each(|(below, above)| blend(below, above));
            } else {
                line.copy_from_slice(source);
            }
        });
        self.last = Some((patch.dispose, rectangle));
        &self.pixels
    }

    /// Calls `each` with the number and the visible bytes of every visible row of a rectangle.
    fn rows(&mut self, [left, top, width, height]: [u32; 4], mut each: impl FnMut(usize, &mut [u8])) {
        let width = width.min(self.width.saturating_sub(left)) as usize;
        let height = height.min(self.height.saturating_sub(top)) as usize;
        if width == 0 {
            return;
        }
        let stride = self.width as usize * 4;
        let lines = self.pixels.chunks_exact_mut(stride).skip(top as usize).take(height);
        for (row, line) in lines.enumerate() {
            each(row, &mut line[left as usize * 4..][..width * 4]);
        }
    }
}

/// Porter-Duff "over" for straight alpha.
fn blend(below: &mut [u8], above: &[u8]) {
    match above[3] {
        255 => below.copy_from_slice(above),
        0 => {}
        alpha => {
            let (a, b) = (u32::from(alpha) * 255, u32::from(below[3]) * (255 - u32::from(alpha)));
            let sum = a + b;
            for channel in 0..3 {
                let mixed = u32::from(above[channel]) * a + u32::from(below[channel]) * b;
                below[channel] = ((mixed + sum / 2) / sum) as u8;
            }
            below[3] = ((sum + 127) / 255) as u8;
        }
    }
}

/// How long a frame is shown: browsers take up to 10 ms as "unsaid" and show it for 100 ms.
pub(super) fn shown_for(delay: Duration) -> Duration {
    if delay <= Duration::from_millis(10) { Duration::from_millis(100) } else { delay }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 4] = [255, 0, 0, 255];
    const NONE: [u8; 4] = [0; 4];

    fn patch(left: u32, width: u32, rgba: &[u8], over: bool, dispose: Dispose) -> Patch<'_> {
        Patch { left, top: 0, width, height: 1, rgba, over, dispose }
    }

    #[test]
    fn frames_are_kept_cleared_or_undone() {
        let mut canvas = Canvas::new(3, 1);
        assert_eq!(canvas.draw(&patch(0, 1, &RED, true, Dispose::Keep)), [RED, NONE, NONE].concat());
        assert_eq!(canvas.draw(&patch(1, 1, &RED, true, Dispose::Undo)), [RED, RED, NONE].concat());
        assert_eq!(canvas.draw(&patch(2, 1, &RED, true, Dispose::Clear)), [RED, NONE, RED].concat());
        assert_eq!(canvas.draw(&patch(1, 1, &RED, true, Dispose::Keep)), [RED, RED, NONE].concat());
        assert_eq!(canvas.draw(&patch(0, 2, &[0; 8], false, Dispose::Keep)), [NONE, NONE, NONE].concat());
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut canvas = Canvas::new(2, 1);
        assert_eq!(canvas.draw(&patch(1, 3, &[RED; 3].concat(), true, Dispose::Clear)), [NONE, RED].concat());
        assert_eq!(canvas.draw(&patch(9, 1, &RED, true, Dispose::Keep)), [NONE, NONE].concat());
        let low = Patch { top: 5, ..patch(0, 1, &RED, true, Dispose::Keep) };
        assert_eq!(canvas.draw(&low), [NONE, NONE].concat());
    }

    #[test]
    fn half_over_opaque_stays_opaque() {
        let mut below = [0, 0, 255, 255];
        blend(&mut below, &[255, 0, 0, 128]);
        assert_eq!(below, [128, 0, 127, 255]);
        let mut below = NONE;
        blend(&mut below, &[200, 100, 0, 128]);
        assert_eq!(below, [200, 100, 0, 128]);
    }
}
