//! Images cut into tiles, and their points.

use super::super::conv2d::ConvGeometry;
use super::super::{WIDTH, vectorized};
use super::lines::{Line, Squares, load, map, store};
use super::{POINTS, SPAN, TILE, apart};
use rayon::prelude::*;

/// The tiles that images are cut into, row by row; those of a convolution's input overlap.
pub struct Tiles {
    /// Channels, height, width of an image.
    image: [usize; 3],
    /// Tiles down and across.
    grid: [usize; 2],
    /// Zeros before the first row and column.
    before: [usize; 2],
    /// Elements of a tile along an axis.
    span: usize,
}

impl Tiles {
    /// What the tiles of results are computed from.
    pub fn of_input(g: &ConvGeometry) -> Self {
        Self::new(g, g.input, SPAN, g.before)
    }

    /// The tiles of results.
    pub fn of_output(g: &ConvGeometry) -> Self {
        Self::new(g, g.output, TILE, [0; 2])
    }

    fn new(g: &ConvGeometry, image: [usize; 3], span: usize, before: [usize; 2]) -> Self {
        let grid = [g.output[1], g.output[2]].map(|extent| extent.div_ceil(TILE));
        Self {
            image,
            grid,
            before,
            span,
        }
    }

    /// Tiles of an image.
    pub fn area(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// The points of images' tiles: `[channels, points, images · tiles]`, points [apart].
    pub fn take<L: Line<N, SPAN>, const N: usize>(&self, images: &[f32], points: &mut [f32]) {
        let [channels, h, w] = self.image;
        let count = images.len() / (channels * h * w).max(1);
        let wide = count * self.area();
        let apart = apart(wide);
        let channels = points.par_chunks_exact_mut(POINTS * apart).enumerate();
        let buffers = || {
            let tiles = vec![[[[0.0; WIDTH]; N]; N]; wide.div_ceil(WIDTH)];
            (tiles, vec![0.0; self.padded()])
        };
        channels.for_each_init(buffers, |(tiles, padded), (channel, points)| {
            let planes = images
                .chunks_exact(h * w)
                .skip(channel)
                .step_by(self.image[0]);
            vectorized(
                #[inline(always)]
                || {
                    for (index, plane) in planes.enumerate() {
                        self.pad(plane, padded);
                        self.cut(padded, tiles, index * self.area());
                    }
                    for (index, tiles) in tiles.iter().enumerate() {
                        let at = index * WIDTH;
                        let tiles = map::<L, N, SPAN>(tiles);
                        store(&tiles, &mut points[at..], apart, wide - at);
                    }
                },
            );
        });
    }

    /// Adds what points, `[points, channels, images · tiles]`, points [apart], stand for to images.
    pub fn give<L: Line<SPAN, N>, const N: usize>(&self, points: &[f32], images: &mut [f32]) {
        let [channels, h, w] = self.image;
        let count = images.len() / (channels * h * w).max(1);
        let wide = count * self.area();
        let mut planes: Vec<Vec<&mut [f32]>> = (0..channels).map(|_| Vec::new()).collect();
        for (index, plane) in images.chunks_exact_mut(h * w).enumerate() {
            planes[index % channels].push(plane);
        }
        let planes = planes.into_par_iter().enumerate();
        let buffers = || (Vec::new(), vec![0.0; self.padded()]);
        planes.for_each_init(buffers, |(tiles, padded), (channel, planes)| {
            vectorized(
                #[inline(always)]
                || {
                    tiles.clear();
                    for at in (0..wide).step_by(WIDTH) {
                        let points = &points[channel * wide + at..];
                        let points = load::<SPAN>(points, apart(channels * wide), wide - at);
                        tiles.push(map::<L, SPAN, N>(&points));
                    }
                    for (index, plane) in planes.into_iter().enumerate() {
                        padded.fill(0.0);
                        self.join(tiles, index * self.area(), padded);
                        self.add(padded, plane);
                    }
                },
            );
        });
    }

    /// Extents of what the tiles cover.
    fn covered(&self) -> [usize; 2] {
        self.grid
            .map(|tiles| tiles.saturating_sub(1) * TILE + self.span)
    }

    fn padded(&self) -> usize {
        self.covered().iter().product()
    }

    /// Puts a plane where tiles cover it; around it there are zeros.
    #[inline(always)]
    fn pad(&self, plane: &[f32], padded: &mut [f32]) {
        let ([_, _, w], [_, across]) = (self.image, self.covered());
        let lines = padded.chunks_exact_mut(across).skip(self.before[0]);
        for (to, from) in lines.zip(plane.chunks_exact(w)) {
            to[self.before[1]..][..w].copy_from_slice(from);
        }
    }

    /// Adds what tiles cover to a plane.
    #[inline(always)]
    fn add(&self, padded: &[f32], plane: &mut [f32]) {
        let ([_, _, w], [_, across]) = (self.image, self.covered());
        let lines = padded.chunks_exact(across).skip(self.before[0]);
        for (from, to) in lines.zip(plane.chunks_exact_mut(w)) {
            let from = &from[self.before[1]..][..w];
            to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        }
    }

    /// The tiles of a padded plane, as those from the `at`th on.
    #[inline(always)]
    fn cut<const N: usize>(&self, padded: &[f32], tiles: &mut [Squares<N>], at: usize) {
        let ([down, right], [_, across]) = (self.grid, self.covered());
        for y in 0..down {
            for x in 0..right {
                let at = at + y * right + x;
                let (tile, lane) = (&mut tiles[at / WIDTH], at % WIDTH);
                for (line, values) in tile.iter_mut().enumerate() {
                    let from = &padded[(y * TILE + line) * across + x * TILE..][..N];
                    for (value, from) in values.iter_mut().zip(from) {
                        value[lane] = *from;
                    }
                }
            }
        }
    }

    /// Adds tiles to the padded plane that they are cut from.
    #[inline(always)]
    fn join<const N: usize>(&self, tiles: &[Squares<N>], at: usize, padded: &mut [f32]) {
        let ([down, right], [_, across]) = (self.grid, self.covered());
        for y in 0..down {
            for x in 0..right {
                let at = at + y * right + x;
                let (tile, lane) = (&tiles[at / WIDTH], at % WIDTH);
                for (line, values) in tile.iter().enumerate() {
                    let to = &mut padded[(y * TILE + line) * across + x * TILE..][..N];
                    for (to, value) in to.iter_mut().zip(values) {
                        *to += value[lane];
                    }
                }
            }
        }
    }
}
