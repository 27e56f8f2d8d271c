#include "launch/plot/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

namespace thinwire::launch {
namespace {

// Of a panel with the room around it, and the edges of its frame therein.
constexpr double kWidth = 380, kHeight = 270;
constexpr double kLeft = 58, kRight = 366, kTop = 30, kBottom = 222;
constexpr double kTitleHeight = 34, kLegendLine = 20;

// Okabe and Ito's colours, which the colour-blind tell apart.
constexpr std::array kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                 "#56b4e9", "#e69f00", "#000000", "#7f7f7f"};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// One axis of one panel: values to places between `from` and `to`.
class Scale {
 public:
  Scale(const Axis& axis, std::vector<double> values, double from, double to)
      : logarithmic_(axis.logarithmic), from_(from), to_(to) {
    std::erase_if(values, [this](double value) { return !shows(value); });
    low_ = axis.low;
    high_ = axis.high;
    if (low_ == high_ && !values.empty()) {
      low_ = *std::min_element(values.begin(), values.end());
      high_ = *std::max_element(values.begin(), values.end());
    }
    if (logarithmic_ && low_ <= 0) low_ = high_ = 1;
    widen();
  }

  bool shows(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0); }
  double place(double value) const {
    return from_ + (to_ - from_) * (measure(value) - measure(low_)) / (measure(high_) - measure(low_));
  }

  // Round numbers within the range: 1, 2 and 5 times powers of ten.
  std::vector<double> ticks() const {
    std::vector<double> found;
    if (logarithmic_) {
      for (double decade = std::pow(10, std::floor(std::log10(low_))); decade <= high_; decade *= 10) {
        for (const double factor : {1.0, 2.0, 5.0}) add_tick(found, factor * decade);
      }
      return found;
    }
    const double rough = (high_ - low_) / 5;
    const double decade = std::pow(10, std::floor(std::log10(rough)));
    double step = 10 * decade;
    for (const double factor : {5.0, 2.0, 1.0}) {
      if (factor * decade >= rough) step = factor * decade;
    }
    for (double i = std::ceil(low_ / step); i * step <= high_ * (1 + 1e-9); ++i) add_tick(found, i * step);
    return found;
  }

 private:
  double measure(double value) const { return logarithmic_ ? std::log(value) : value; }
  void add_tick(std::vector<double>& found, double value) const {
    const double slack = 1e-9 * std::max(std::abs(low_), std::abs(high_));
    if (value >= low_ - slack && value <= high_ + slack) found.push_back(value);
  }
  // A single value gets a range around it.
  void widen() {
    if (low_ < high_) return;
    if (logarithmic_) {
      low_ /= 2;
      high_ *= 2;
    } else {
      low_ -= 0.5;
      high_ += 0.5;
    }
  }

  bool logarithmic_;
  double from_, to_;
  double low_ = 0, high_ = 0;
};

// A mark of the series' own shape.
std::string mark(std::size_t index, double x, double y) {
  const char* colour = kColours[index % kColours.size()];
  switch (index % 4) {
    case 0:
      return fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="{}"/>)", x, y, colour);
    case 1:
      return fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="7" height="7" fill="{}"/>)", x - 3.5, y - 3.5,
                         colour);
    case 2:
      return fmt::format(R"(<path d="M{:.1f} {:.1f}l4.5 8h-9z" fill="{}"/>)", x, y - 5, colour);
    default:
      return fmt::format(R"(<path d="M{:.1f} {:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z" fill="{}"/>)", x, y - 4.5,
                         colour);
  }
}

std::string text(double x, double y, std::string_view anchor, std::string_view words,
                 std::string_view more = "") {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}"{}>{}</text>)", x, y, anchor, more,
                     escaped(words));
}

class Page {
 public:
  Page(std::string_view title, const std::vector<Panel>& panels, int columns)
      : title_(title), panels_(panels), columns_(static_cast<std::size_t>(columns)) {
    for (const Panel& panel : panels_) {
      for (const Series& series : panel.series) {
        if (std::ranges::find(names_, series.name) == names_.end()) names_.push_back(series.name);
      }
    }
  }

  std::string draw() {
    const std::size_t rows = (panels_.size() + columns_ - 1) / columns_;
    const double width =
        kWidth * static_cast<double>(std::min(columns_, std::max<std::size_t>(1, panels_.size())));
    const double legend = kLegendLine * static_cast<double>(names_.size()) + 10;
    const double height = kTitleHeight + kHeight * static_cast<double>(rows) + legend;
    add(fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" )"
                    R"(viewBox="0 0 {0:.0f} {1:.0f}" font-family="sans-serif" font-size="12">)",
                    width, height));
    add(R"(<rect width="100%" height="100%" fill="#ffffff"/>)");
    add(text(width / 2, 22, "middle", title_, R"( font-size="15")"));
    for (std::size_t i = 0; i < panels_.size(); ++i) {
      add(fmt::format(R"~(<g transform="translate({:.0f} {:.0f})">)~",
                      kWidth * static_cast<double>(i % columns_),
                      kTitleHeight + kHeight * static_cast<double>(i / columns_)));
      draw_panel(panels_[i]);
      add("</g>");
    }
    draw_legend(kTitleHeight + kHeight * static_cast<double>(rows));
    add("</svg>");
    return std::move(out_);
  }

 private:
  void add(const std::string& line) { out_ += line + "\n"; }

  void draw_panel(const Panel& panel) {
    std::vector<double> xs, ys;
    for (const Series& series : panel.series) {
      for (const auto& [x, y] : series.points) {
        xs.push_back(x);
        ys.push_back(y);
      }
    }
    const Scale x(panel.x, xs, kLeft, kRight), y(panel.y, ys, kBottom, kTop);
    add(text((kLeft + kRight) / 2, kTop - 10, "middle", panel.title));
    draw_axes(panel, x, y);
    for (const Series& series : panel.series) draw_series(series, x, y);
  }

  void draw_axes(const Panel& panel, const Scale& x, const Scale& y) {
    for (const double tick : x.ticks()) {
      const double at = x.place(tick);
      add(fmt::format(R"(<path d="M{:.1f} {}V{}" stroke="#dddddd"/>)", at, kTop, kBottom));
      add(text(at, kBottom + 16, "middle", fmt::format("{:.6g}", tick)));
    }
    for (const double tick : y.ticks()) {
      const double at = y.place(tick);
      add(fmt::format(R"(<path d="M{} {:.1f}H{}" stroke="#dddddd"/>)", kLeft, at, kRight));
      add(text(kLeft - 6, at + 4, "end", fmt::format("{:.6g}", tick)));
    }
    add(fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}" fill="none" stroke="#444444"/>)", kLeft,
                    kTop, kRight - kLeft, kBottom - kTop));
    add(text((kLeft + kRight) / 2, kBottom + 34, "middle", panel.x.label));
    const double middle = (kTop + kBottom) / 2;
    add(text(14, middle, "middle", panel.y.label,
             fmt::format(R"~( transform="rotate(-90 14 {})")~", middle)));
  }

  void draw_series(const Series& series, const Scale& x, const Scale& y) {
    const std::size_t index = index_of(series.name);
    std::string path, marks;
    for (const auto& [px, py] : series.points) {
      if (!x.shows(px) || !y.shows(py)) continue;
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.place(px), y.place(py));
      marks += mark(index, x.place(px), y.place(py)) + "\n";
    }
    if (path.empty()) return;
    add(fmt::format(R"(<path d="{}" fill="none" stroke="{}" stroke-width="1.5"/>)", path,
                    kColours[index % kColours.size()]));
    out_ += marks;
  }

  void draw_legend(double top) {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const double y = top + kLegendLine * (static_cast<double>(i) + 0.5);
      add(fmt::format(R"(<path d="M{} {:.1f}h30" stroke="{}" stroke-width="1.5"/>)", kLeft, y,
                      kColours[i % kColours.size()]));
      add(mark(i, kLeft + 15, y));
      add(text(kLeft + 40, y + 4, "start", names_[i]));
    }
  }

  std::size_t index_of(const std::string& name) const {
    return static_cast<std::size_t>(std::ranges::find(names_, name) - names_.begin());
  }

  const std::string title_;
  const std::vector<Panel>& panels_;
  const std::size_t columns_;
  std::vector<std::string> names_;  // in the order of their first coming
  std::string out_;
};

}  // namespace

std::string to_svg(std::string_view title, const std::vector<Panel>& panels, int columns) {
  return Page(title, panels, columns).draw();
}

}  // namespace thinwire::launch
