// Line plots as SVG, drawn without any other program. One page holds panels in a grid that share one legend.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thinwire::launch {

struct Series {
  std::string name;  // series of one name look alike in all panels
  // (x, y), joined in this order; others than finite are left out.
  std::vector<std::pair<double, double>> points{};
};

struct Axis {
  std::string label;
  bool logarithmic = false;  // values of 0 or less are left out
  // From the data where low = high.
  double low = 0;
  double high = 0;
};

struct Panel {
  std::string title;
  Axis x, y;
  std::vector<Series> series{};
};

// Up to eight series are told apart by colour and by mark, the next repeat them. A panel without points shows
// its axes. columns > 0.
std::string to_svg(std::string_view title, const std::vector<Panel>& panels, int columns);

}  // namespace thinwire::launch
