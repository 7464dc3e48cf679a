"""Panels for Jupyter: controls that you move, and the picture that a pure function makes of their values.

`panel` connects controls of your own to any function that returns a picture, such as a Matplotlib figure:

    panel([slider("beta", 0, 4, 1)], plot_losses)

`explore` builds a panel for any model: you give it the controls of the condition, and a function from their values to
the vector `label`. `explore_condition` makes them from a condition, `explore_classes`, `explore_numbers`,
`explore_digits` and `explore_blends` are the usual cases, and `restyle_digits` encodes an image or a drawing. All
controls work from the keyboard, and a screen reader is told what is shown. Pictures are made in Python, so any model
will do; what moves in the browser are the scripts of the explorer in the published page, in `web`.
"""

import base64
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets
from numpy.typing import ArrayLike

from cvae_lib.data import Classes, Condition, Cyclic, Joint, Numbers, one_hot
from cvae_lib.data.mnist import DIGITS, IMAGE_SHAPE
from cvae_lib.metrics import cross_entropy, gaussian_kl
from cvae_lib.pictures import as_pictures, fit_zoom, tile, write_png

SIDE = 224  # pixels of the longer side of a picture on the screen, at most
PICTURES_IN_A_ROW = 5
LIMIT = 4.0  # latents run from -LIMIT to LIMIT, and the plane shows as much
STEP = 0.05  # of a latent
CODES_PER_CLASS = 300  # drawn in the plane, at most
WHOSE_CODES = ("", " with this {}", " of the first class, and each plus sign that of one of the second")
FARTHEST = 0.01  # the share of the prior beyond which training leaves hardly any code

WEB = resources.files("cvae_lib") / "web"
SCRIPTS = [f"explorer/{name}.js" for name in ("model", "strokes", "elements", "plane", "pad")]  # in loader.js's order
STYLES = ["explorer/explorer.css", "panel.css"]

Decode = Callable[[np.ndarray, np.ndarray], ArrayLike]  # z (n, n_z) and label (n, n_y) to images in [0, 1], (n, n_x)
Encode = Callable[[np.ndarray, np.ndarray], tuple[ArrayLike, ArrayLike]]  # x and label to z_mean and z_log_var
Codes = tuple[ArrayLike, ArrayLike]  # z (n, n_z) and the class of each, (n,)
Values = dict[str, Any]  # of controls, by name


# Pictures.


def render(decode: Decode, label: ArrayLike, z: ArrayLike, image_shape: tuple[int, ...] = IMAGE_SHAPE) -> bytes:
    """Decode one code z (n_z,) under one label (n_y,), and return the picture, enlarged, as the bytes of a PNG."""
    image = decode(np.asarray([z], "float32"), np.asarray([label], "float32"))
    return write_png(as_pictures(image, image_shape)[0], fit_zoom(image_shape, SIDE))


def render_digit(decode: Decode, digit: int, z1: float, z2: float) -> bytes:
    """Decode one digit of MNIST at (z1, z2) as `render` does: a grey PNG, each pixel 8 by 8."""
    return render(decode, one_hot(digit), (z1, z2))


def blend_labels(first: int, second: int, amount: float, n_classes: int) -> np.ndarray:
    """Mix the one-hot labels of two classes: amount 0 is the first class, 1 the second. Returns (n_classes,)."""
    return (1 - amount) * one_hot(first, n_classes) + amount * one_hot(second, n_classes)


class Restyled(NamedTuple):
    """What `restyle` computes: the posterior of an image, its code under all labels, and the two losses in nats."""

    mean: np.ndarray  # of q(z | x, y), (n_z,)
    sigma: np.ndarray  # its standard deviations, (n_z,)
    images: np.ndarray  # the mean decoded under each label, (n_classes, n_x)
    reconstruction_loss: float
    kl_loss: float


def restyle(encode: Encode, decode: Decode, image: ArrayLike, y: int, n_classes: int = DIGITS.n_y) -> Restyled:
    """Encode an image (n_x,) as class y, and decode the mean of its posterior under all labels.

    The reconstruction loss is the Bernoulli cross-entropy between the image and the decoded mean, without sampling
    noise, summed over the pixels; the KL loss is summed over the latents.
    """
    image = np.asarray(image).reshape(1, -1)
    z_mean, z_log_var = encode(image, one_hot([y], n_classes))
    images = np.asarray(decode(np.repeat(z_mean, n_classes, axis=0), one_hot(np.arange(n_classes), n_classes)))
    mean, sigma = np.asarray(z_mean)[0], np.exp(np.asarray(z_log_var)[0] / 2)
    loss, kl_loss = float(cross_entropy(image[0], images[y])), float(gaussian_kl(mean, np.diag(sigma**2)))
    return Restyled(mean, sigma, images, loss, kl_loss)


def lay_out_restyled(image: ArrayLike, images: np.ndarray, y: int, image_shape: tuple[int, ...]) -> bytes:
    """Write an image, its reconstruction as class y, and the images of all labels, (n_classes, n_x), as a PNG."""
    rows = 1 + -(-len(images) // PICTURES_IN_A_ROW)
    places = np.zeros((rows * PICTURES_IN_A_ROW, math.prod(image_shape)))
    places[0], places[1] = np.ravel(image), images[y]
    places[PICTURES_IN_A_ROW : PICTURES_IN_A_ROW + len(images)] = images
    sheet = tile(places.reshape(rows, PICTURES_IN_A_ROW, -1), image_shape)
    return write_png(sheet, fit_zoom(image_shape, SIDE // 2))


def render_restyle(
    encode: Encode,
    decode: Decode,
    image: ArrayLike,
    y: int,
    n_classes: int = DIGITS.n_y,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> bytes:
    """Encode an image (n_x,) as class y, decode its code under all labels, and return all as the bytes of a PNG.

    The first row holds the image and its reconstruction. The rows below hold the code under every label, five a row.
    """
    return lay_out_restyled(image, restyle(encode, decode, image, y, n_classes).images, y, image_shape)


def describe_code(encode: Encode, image: ArrayLike, y: int, names: Sequence[str] = DIGITS.names) -> str:
    """Write the code of an image (n_x,) as class y in one line: the mean ± the standard deviation of each latent."""
    z_mean, z_log_var = encode(np.asarray(image).reshape(1, -1), one_hot([y], len(names)))
    return write_code(np.asarray(z_mean)[0], np.exp(np.asarray(z_log_var)[0] / 2), names[y])


def write_code(mean: np.ndarray, sigma: np.ndarray, name: str) -> str:
    """Write the mean and the standard deviation of each latent, (n_z,), under the class of this name in one line."""
    latents = (f"z{i} = {one:.2f} ± {spread:.2f}" for i, (one, spread) in enumerate(zip(mean, sigma), start=1))
    return f"code as a {name}: {', '.join(latents)}"


def prior_beyond(radius: float, n_z: int) -> float:
    """Compute the share of N(0, I) in n_z dimensions that lies farther than `radius` from 0.

    This is the regularised incomplete gamma function Q(n_z / 2, radius² / 2), by its recurrence from 1 or 1/2 upwards.
    """
    x = radius**2 / 2
    a, share = (1.0, math.exp(-x)) if n_z % 2 == 0 else (0.5, math.erfc(math.sqrt(x)))
    while a < n_z / 2:
        share += x**a * math.exp(-x) / math.gamma(a + 1)
        a += 1
    return share


def describe_place(z: Sequence[float]) -> str:
    """Say how far z (n_z,) lies from 0 and how much of the prior lies farther out; a warning where hardly any does."""
    radius = math.hypot(*z)
    share = prior_beyond(radius, len(z))
    percent = "less than 0.01" if share < 1e-4 else f"{100 * share:.{2 if share < 0.01 else 0}f}"
    warning = " Hardly any training image has its code here, so the decoder extrapolates." if share < FARTHEST else ""
    return f"Radius {radius:.2f}: {percent} % of the prior lies farther out.{warning}"


# Controls.


@dataclass(frozen=True)
class Control:
    """Something to move, made by one of the functions below; `settings` is what its kind needs in the browser."""

    kind: str
    name: str
    value: Any = None
    settings: Values = field(default_factory=dict)
    then: Callable[[Any], Values] | None = None  # from its new value to new values of other controls, by name

    @property
    def has_value(self) -> bool:
        """Whether it has a value of its own. A button has none, and the plane shows those of two sliders."""
        return self.kind in ("choice", "pad", "slider")

    def write(self, value: Any) -> str:
        """Write the control with a value in words, such as "z1 −0.50"."""
        if self.kind == "pad":
            return self.name
        if self.kind == "choice":
            return f"{self.name} {self.settings['options'][value]}"
        return f"{self.name} {value:.{self.settings['places']}f}".replace("-", "−")


def choice(
    name: str,
    options: Sequence[Any],
    value: int | None = 0,
    pictures: Sequence[bytes] | None = None,
    then: Callable[[int], Values] | None = None,
) -> Control:
    """Build a button for each option; the value is the number of the option that is chosen, from 0, or None.

    options: the words on the buttons. If `pictures` (PNG) are given, the buttons show these instead, and a screen
    reader reads the options. then: a function from a new value to new values of other controls, by name.
    """
    settings: Values = {"options": [str(option) for option in options]}
    if pictures is not None:
        settings["pictures"] = [to_data_url(png) for png in pictures]
    return Control("choice", name, value, settings, then)


def slider(name: str, low: float, high: float, value: float | None = None, step: float | None = None) -> Control:
    """Build a slider from low to high. By default it starts in the middle and has 50 steps."""
    step = (high - low) / 50 if step is None else step
    _, _, decimals = f"{step:.6f}".rstrip("0").partition(".")
    settings = {"min": low, "max": high, "step": step, "places": len(decimals)}
    return Control("slider", name, (low + high) / 2 if value is None else value, settings)


def button(name: str, then: Callable[[], Values]) -> Control:
    """Build a button; `then` returns the new values of other controls, by name."""
    return Control("button", name, then=lambda _: then())


def play(name: str, steps: Iterable[Values]) -> Control:
    """Build a button that goes through steps, each of them new values of other controls, by name."""
    return Control("play", name, settings={"steps": list(steps)})


def plane(of: Sequence[str], codes: Codes | None = None, by: Sequence[str] = (), limit: float = LIMIT) -> Control:
    """Build the latent plane from -limit to limit, with the density of the prior and the codes of training images.

    of: the names of the two sliders that a point in the plane moves; without names the plane shows a posterior. by: the
    names of one choice of a class, or of two, whose codes are shown, at most 300 of a class; without names all are.
    """
    points: list[list[float]] = []
    caption = ""
    if codes is not None:
        z, y = (np.asarray(part) for part in codes)
        groups = [z[y == k][:CODES_PER_CLASS] for k in range(y.max() + 1)] if by else [z]
        points = [group.round(3).ravel().tolist() for group in groups]
        caption = f"Each dot is the mean code of a training image{WHOSE_CODES[len(by)].format(*by)}."
    settings = {"of": list(of), "codes": points, "by": list(by), "limit": limit, "caption": caption}
    return Control("plane", "plane", settings=settings)


def pad(name: str, then: Callable[[list[int] | None], Values] | None = None) -> Control:
    """Build a pad to draw a digit on; the value is the drawing as MNIST has them, 784 grey values 0 to 255, or None."""
    return Control("pad", name, then=then)


# Panels.


class Shown(NamedTuple):
    """What a panel shows besides its controls."""

    picture: Any  # the bytes of a PNG, or a Matplotlib figure
    text: str = ""  # a line under the picture
    captions: Sequence[Sequence[str]] = ()  # a word for each place of a sheet of pictures, row by row
    posterior: tuple[np.ndarray, np.ndarray] | None = None  # mean and standard deviation in the plane, each (2,)


class Panel(anywidget.AnyWidget):
    """Controls, and the picture of their values; `panel` builds it.

    `values`, by name, are what is shown; `picture` holds the bytes of the PNG, `alt` and `text` what is said of it. The
    other traits are what the page and the kernel tell each other besides; web/panel.js has the page's side.
    """

    _esm = "\n".join((WEB / name).read_text(encoding="utf-8") for name in (*SCRIPTS, "panel.js"))
    _css = "\n".join((WEB / name).read_text(encoding="utf-8") for name in STYLES)

    title = traitlets.Unicode().tag(sync=True)
    controls: traitlets.List = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    picture = traitlets.Bytes()
    source = traitlets.Unicode().tag(sync=True)  # as a data URL, which takes a browser half the time of bytes
    alt = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    captions: traitlets.List = traitlets.List().tag(sync=True)
    posterior = traitlets.Any().tag(sync=True)
    answers = traitlets.Int().tag(sync=True)  # how many times something was shown: the page waits for the next

    def __init__(self, controls: Sequence[Control], render: Callable[..., Any], title: str) -> None:
        self._moving, self._render = {control.name: control for control in controls}, render
        described = [{"kind": one.kind, "name": one.name, **one.settings} for one in controls]
        super().__init__(controls=described, title=title)
        self._show({control.name: control.value for control in controls if control.has_value})
        self.on_msg(self._receive)

    def move(self, moved: Mapping[str, Any]) -> None:
        """Set the values of controls by name, as if the reader had moved them. A button is pressed, whatever its value.

        Raises ValueError for a name that no control has.
        """
        if unknown := moved.keys() - self._moving.keys():
            raise ValueError(f"controls: found {sorted(unknown)}; expected some of {list(self._moving)}")
        values = dict(self.values)
        for name, control in self._moving.items():
            if name in moved:
                values |= {name: moved[name]} if control.has_value else {}
                values |= control.then(moved[name]) if control.then else {}
        self._show(values)

    def _show(self, values: Values) -> None:
        """Make the picture of these values and send both to the page in one message."""
        result = self._render(*values.values())
        shown = result if isinstance(result, Shown) else Shown(result)
        picture = shown.picture if isinstance(shown.picture, bytes) else save_figure(shown.picture)
        with self.hold_sync():
            self.values, self.picture, self.source, self.text = values, picture, to_data_url(picture), shown.text
            self.alt = f"{self.title}: {self._write()}"
            self.captions = [list(row) for row in shown.captions]
            self.posterior = shown.posterior and [part.tolist() for part in shown.posterior]
            self.answers += 1

    def _write(self) -> str:
        """Write the values of the controls in words."""
        return ", ".join(self._moving[name].write(value) for name, value in self.values.items() if value is not None)

    def _receive(self, _: Any, moved: Values, __: Any) -> None:
        """Answer the page. An error goes to the line under the picture: elsewhere no reader would see it."""
        try:
            self.move(moved)
        except Exception as error:
            with self.hold_sync():
                self.text = f"{type(error).__name__}: {error}"
                self.answers += 1

    def __repr__(self) -> str:
        return f"Panel({self._write()})"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add the picture, for a place where there is no kernel."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return data | {"image/png": base64.b64encode(self.picture).decode()}, metadata


def panel(controls: Sequence[Control], render: Callable[..., Any], title: str = "Picture") -> Panel:
    """Build a panel of controls and the picture of their values.

    render: a function from the values, in the order of those controls that have one, to a picture: the bytes of a PNG,
    a Matplotlib figure, or `Shown`. title: what is shown, in a few words, for a screen reader. An error in `render`
    stands under the picture.
    """
    return Panel(controls, render, title)


def save_figure(figure: Any) -> bytes:
    """Write a Matplotlib figure on white as the bytes of a PNG, and close it: the cell does not show it once more."""
    from matplotlib import pyplot as plt  # here, because it takes a second to load

    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight", facecolor="white")
    plt.close(figure)
    return file.getvalue()


def to_data_url(png: bytes) -> str:
    """Write the bytes of a PNG as an address that a browser shows without asking anybody."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


# Panels over a model.


def explore(
    decode: Decode,
    controls: Sequence[Control],
    make_label: Callable[..., ArrayLike],
    n_z: int = 2,
    limit: float = LIMIT,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
    codes: Codes | None = None,
    by: Sequence[str] = (),
) -> Panel:
    """Build a panel over the condition and the n_z latents, with the picture that `decode` makes of their values.

    controls: those of the condition. make_label: a function from their values to the vector label (n_y,). The latents
    run from -limit to limit, and of two latents there is a plane, too; `codes` and `by` are those of `plane`.
    """
    latents = [f"z{i}" for i in range(1, n_z + 1)]
    rng = np.random.default_rng()
    circle = [[1.5 * math.cos(t), 1.5 * math.sin(t)] for t in np.linspace(0, 2 * math.pi, 61)]
    moves = [
        *(slider(name, -limit, limit, 0, STEP) for name in latents),
        button("Go to 0", lambda: dict.fromkeys(latents, 0)),
        button("Draw z from the prior", lambda: dict(zip(latents, rng.standard_normal(n_z).round(3).tolist()))),
        play("Play along a circle", [dict(zip(latents, point)) for point in circle]),
    ]

    def show(*values: Any) -> Shown:
        label, z = make_label(*values[:-n_z]), values[-n_z:]
        return Shown(render(decode, label, z, image_shape), describe_place(z))

    planes = [plane(latents, codes, by, limit)] if n_z == 2 else []
    return panel([*controls, *planes, *moves], show, "The decoded image")


def explore_classes(
    decode: Decode,
    names: Sequence[str],
    n_z: int = 2,
    limit: float = LIMIT,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
    description: str = "class",
    start: int = 0,
    codes: Codes | None = None,
) -> Panel:
    """Build a button for each class and a slider for each latent, as `explore` does.

    start: the first class shown. codes: z (n, n_z) and the class of each, (n,), shown in the plane class by class.
    """
    controls = [choice(description, names, start)]
    return explore(decode, controls, lambda y: one_hot(y, len(names)), n_z, limit, image_shape, codes, by=[description])


def explore_numbers(
    decode: Decode,
    ranges: Mapping[str, tuple[float, float]],
    n_z: int = 2,
    limit: float = LIMIT,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
    codes: Codes | None = None,
) -> Panel:
    """Build a slider for each number of the condition and one for each latent, as `explore` does.

    ranges: the lowest and the highest value of each number, by name, in the order of the vector `label`.
    """
    controls = [slider(name, low, high) for name, (low, high) in ranges.items()]
    return explore(decode, controls, lambda *numbers: numbers, n_z, limit, image_shape, codes)


def explore_condition(decode: Decode, condition: Condition, **settings: Any) -> Panel:
    """Build the controls of any condition and a slider for each latent; settings are the other arguments of `explore`.

    Classes become buttons. A number becomes a slider in its own unit, over three standard deviations either way, and a
    cyclic number a slider over its period.
    """
    parts = condition.parts if isinstance(condition, Joint) else (condition,)

    def make_label(*values: float) -> np.ndarray:
        return condition.encode(values if isinstance(condition, Classes) else [values])[0]

    return explore(decode, [control for part in parts for control in control_part(part)], make_label, **settings)


def control_part(part: Condition) -> list[Control]:
    """Build the controls of one part of a condition."""
    if isinstance(part, Classes):
        return [choice(part.title, part.names)]
    if isinstance(part, Cyclic):
        return [slider(name, 0, part.period, 0, part.period / 72) for name in part.names]
    assert isinstance(part, Numbers)
    controls = []
    for name, centre, spread in zip(part.names, part.centre or (0,) * part.n_y, part.spread or (1,) * part.n_y):
        step = 10 ** math.floor(math.log10(spread / 5))  # a round number, such as 0.01
        low, middle, high = (step * round((centre + reach * spread) / step) for reach in (-3, 0, 3))
        controls.append(slider(name, low, high, middle, step))
    return controls


def explore_digits(decode: Decode, limit: float = LIMIT, codes: Codes | None = None) -> Panel:
    """Build ten buttons and the latent plane beside the digit of MNIST that `decode` makes, as `explore` does."""
    return explore_classes(decode, DIGITS.names, limit=limit, description="digit", start=3, codes=codes)


def explore_blends(
    decode: Decode,
    limit: float = LIMIT,
    names: Sequence[str] = DIGITS.names,
    pair: tuple[int, int] = (4, 9),
    n_z: int = 2,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
    codes: Codes | None = None,
) -> Panel:
    """Build buttons for two classes, a slider from the first to the second, and one for each latent, as `explore` does.

    The blend runs from 0, the first class, to 1, the second. pair: the two classes at the start. codes: as for
    `explore_classes`.
    """
    controls = [
        choice("first", names, pair[0]),
        choice("second", names, pair[1]),
        slider("blend", 0, 1, 0.5, 0.05),
        play("Play from the first to the second", [{"blend": i / 20} for i in range(21)]),
    ]

    def make_label(first: int, second: int, amount: float) -> np.ndarray:
        return blend_labels(first, second, amount, len(names))

    return explore(decode, controls, make_label, n_z, limit, image_shape, codes, by=["first", "second"])


def restyle_digits(
    encode: Encode,
    decode: Decode,
    images: ArrayLike,
    y: ArrayLike,
    names: Sequence[str] = DIGITS.names,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
    codes: Codes | None = None,
) -> Panel:
    """Build buttons to choose one of the images (n, n_x) and a label, beside what `render_restyle` makes of them.

    Each image becomes a button with its picture, so ten or twenty are enough. A new image brings its own label, from
    y (n,); the label's buttons then change what both networks are told. For images of MNIST's shape there is a pad to
    draw a digit, and for two latents a plane with the posterior; codes: as for `explore_classes`. The line under the
    picture has the losses in nats, as `restyle` computes them, and the code.
    """
    images, y = np.asarray(images), np.asarray(y)
    has_pad = image_shape == IMAGE_SHAPE
    n_z = np.shape(encode(images[:1], one_hot(y[:1], len(names)))[0])[1]

    def take(image: int) -> Values:
        return {"label": int(y[image])} | ({"drawing": None} if has_pad else {})

    def show(image: int | None, label: int, drawing: list[int] | None = None) -> Shown:
        if image is None and drawing is None:
            nothing = np.zeros((1 + len(names), images[0].size))
            sheet = lay_out_restyled(nothing[0], nothing[1:], label, image_shape)
            return Shown(sheet, "There is nothing to encode yet. Draw a digit or take one.")
        x = images[image] if drawing is None else np.asarray(drawing) / 255
        return show_restyled(x, restyle(encode, decode, x, label, len(names)), label, names, image_shape)

    numbered = [f"{names[k]}, number {i}" for i, k in enumerate(y, start=1)]
    thumbnails = [write_png(picture) for picture in as_pictures(images, image_shape)]
    controls = [choice("test image", numbered, 0, thumbnails, take), choice("label", names, int(y[0]))]
    controls += [pad("drawing", lambda drawing: {"test image": None})] if has_pad else []
    controls += [plane((), codes, ["label"])] if n_z == 2 else []
    return panel(controls, show, "The image, its reconstruction, and its code under all labels")


def show_restyled(
    x: np.ndarray, restyled: Restyled, y: int, names: Sequence[str], image_shape: tuple[int, ...]
) -> Shown:
    """Lay out what `restyle` made of an image x (n_x,) as class y, with the losses and the code in words."""
    losses = restyled.reconstruction_loss, restyled.kl_loss
    text = "Reconstruction loss {:.1f} nats, KL loss {:.1f} nats, sum {:.1f} nats; ".format(*losses, sum(losses))
    words = [f"{name}, the label" if k == y else name for k, name in enumerate(names)]
    rows = [words[i : i + PICTURES_IN_A_ROW] for i in range(0, len(words), PICTURES_IN_A_ROW)]
    return Shown(
        lay_out_restyled(x, restyled.images, y, image_shape),
        text + write_code(restyled.mean, restyled.sigma, names[y]),
        [["image", "reconstruction"], *rows],
        (restyled.mean, restyled.sigma) if len(restyled.mean) == 2 else None,
    )
