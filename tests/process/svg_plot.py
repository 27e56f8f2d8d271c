"""A scatter plot as SVG text: logarithmic x, linear y, one colour and a line of the legend for each series."""
import html
import math

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 860, 460, 70, 20, 60, 250
COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#17becf", "#7f7f7f"]


def scatter(points, x_title, y_title):
    """points: (series, x above 0, label, y)."""
    series = list(dict.fromkeys(point[0] for point in points))
    x_of, x_ticks = logarithmic([x for _, x, _, _ in points])
    y_of, y_ticks = linear([y for _, _, _, y in points])

    def text(x, y, words, anchor="middle", more=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{html.escape(words)}</text>'

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
             'font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for x in x_ticks:
        lines.append(f'<path d="M{x_of(x):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        lines.append(text(x_of(x), HEIGHT - BOTTOM + 18, f"{x:g}"))
    for y in y_ticks:
        lines.append(f'<path d="M{LEFT} {y_of(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        lines.append(text(LEFT - 8, y_of(y) + 4, f"{y:g}", "end"))
    lines.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 15, x_title))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    lines.append(text(16, middle, y_title, more=f'transform="rotate(-90 16 {middle:.1f})"'))
    for name, x, label, y in points:
        colour = COLOURS[series.index(name) % len(COLOURS)]
        lines.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="4" fill="{colour}">'
                     f'<title>{html.escape(f"{label}, {name}: {y:+.2f}")}</title></circle>')
        lines.append(text(x_of(x) + 6, y_of(y) - 5, label, "start", f'fill="{colour}" font-size="10"'))
    for i, name in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        lines.append(f'<circle cx="{WIDTH - RIGHT + 20}" cy="{TOP + 10 + 20 * i}" r="4" fill="{colour}"/>')
        lines.append(text(WIDTH - RIGHT + 30, TOP + 14 + 20 * i, name, "start"))
    return "\n".join(lines + ["</svg>", ""])


def logarithmic(values):
    """The place of a value across the plot, and the powers of two within."""
    low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
    span = max(high - low, 1)
    return (lambda x: LEFT + (math.log2(x) - low) / span * (WIDTH - RIGHT - LEFT),
            [2.0 ** e for e in range(low, low + span + 1)])


def linear(values):
    """The place of a value up the plot, and some five round values that span them all."""
    span = (max(values) - min(values)) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 5))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    low, high = math.floor(min(values) / step), math.ceil(max(values) / step)
    high = max(high, low + 1)
    return (lambda y: HEIGHT - BOTTOM - (y / step - low) / (high - low) * (HEIGHT - BOTTOM - TOP),
            [round(i * step, 10) for i in range(low, high + 1)])
