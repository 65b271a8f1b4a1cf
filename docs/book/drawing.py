"""Pictures in SVG: what the plots and the diagrams are drawn with.

Every picture has a ground of its own, so that it can be read on a light page
and on a dark one.
"""

from html import escape

INK, FAINT, GROUND, LINE = "#1f2933", "#5f6c7b", "#ffffff", "#c9d2dc"
OURS, OTHERS, ACCENT = "#2f6fde", "#a9b7c6", "#d9822b"
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"


class Picture:
    def __init__(self, width, height, title, description):
        self.width, self.height = width, height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="{FONT}">',
            f"<title>{escape(title)}</title><desc>{escape(description)}</desc>",
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{FAINT}"/>'
            "</marker></defs>",
            f'<rect width="{width}" height="{height}" rx="8" fill="{GROUND}" stroke="{LINE}"/>',
        ]

    def text(self, x, y, words, size=14, colour=INK, anchor="start", weight="normal", mono=False, halo=False):
        family = " font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\"" if mono else ""
        # Over a line, words keep some ground around them.
        around = f' stroke="{GROUND}" stroke-width="5" paint-order="stroke"' if halo else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}"{family}{around}>{escape(words)}</text>'
        )

    def rect(self, x, y, width, height, fill, stroke="none", radius=4, dashed=False):
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}" '
            f'fill="{fill}" stroke="{stroke}"{dash}/>'
        )

    def line(self, points, arrow=True, dashed=False, colour=FAINT, width=1.6):
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        end = ' marker-end="url(#arrow)"' if arrow else ""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{end}{dash}/>'
        )

    def box(self, x, y, width, height, title, *lines, fill="#f4f7fa", stroke=LINE, colour=INK):
        """A box with a bold title and smaller lines below it, centred."""
        self.rect(x, y, width, height, fill, stroke, radius=6)
        top = y + height / 2 - 9 * len(lines) + 5
        self.text(x + width / 2, round(top, 1), title, 14, colour, "middle", "600")
        for number, words in enumerate(lines):
            self.text(x + width / 2, round(top + 18 * (number + 1), 1), words, 12, FAINT, "middle")

    def svg(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def bars(title, subtitle, rows, unit, marks=()):
    """Bars that lie: rows of (label, value, whether it is ours); marks are (value, words)."""
    left, right, top, step = 210, 90, 74, 30
    width, height = 720, top + step * len(rows) + 26 + 20 * bool(marks)
    most = max([value for _, value, _ in rows] + [value for value, _ in marks])
    scale = (width - left - right) / most
    said = "; ".join(f"{label} {value:g}" for label, value, _ in rows)
    picture = Picture(width, height, title, f"{subtitle}: {said} {unit}")
    picture.text(20, 32, title, 17, weight="600")
    picture.text(20, 54, subtitle, 13, FAINT)
    bottom = top + step * len(rows)
    for value, words in marks:
        x = left + value * scale
        picture.line([(x, top - 6), (x, bottom)], arrow=False, dashed=True, colour=ACCENT)
        picture.text(round(x, 1), bottom + 16, words, 12, ACCENT, "middle")
    for number, (label, value, ours) in enumerate(rows):
        y = top + step * number
        picture.text(left - 12, y + 15, label, 13, anchor="end", weight="600" if ours else "normal")
        picture.rect(left, y, value * scale, 20, OURS if ours else OTHERS, radius=3)
        picture.text(round(left + value * scale + 8, 1), y + 15, f"{value:,g}", 13, halo=True)
    picture.text(width - 20, height - 12, unit, 12, FAINT, "end")
    return picture.svg()
