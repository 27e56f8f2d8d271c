#include "launch/plot/svg_plot.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <regex>

namespace thinwire::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Panel panel(std::vector<Series> series) {
  return {.title = "panel", .x = {.label = "x"}, .y = {.label = "y"}, .series = std::move(series)};
}

// (x, y) of the circles, which mark the points of the first series; the last one is the legend's.
std::vector<std::pair<double, double>> circles(const std::string& svg) {
  static const std::regex circle(R"re(<circle cx="([0-9.-]+)" cy="([0-9.-]+)")re");
  std::vector<std::pair<double, double>> found;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), circle); it != std::sregex_iterator(); ++it) {
    found.emplace_back(std::stod((*it)[1]), std::stod((*it)[2]));
  }
  if (!found.empty()) found.pop_back();
  return found;
}

// Every element closes, in the order of opening.
bool is_well_formed(const std::string& svg) {
  static const std::regex tag(R"re(<(/?)([a-z]+)(?:\s+[a-zA-Z:-]+="[^"<]*")*\s*(/?)>)re");
  std::vector<std::string> open;
  std::size_t count = 0;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), tag); it != std::sregex_iterator();
       ++it, ++count) {
    if ((*it)[1].length() > 0) {
      if (open.empty() || open.back() != (*it)[2]) return false;
      open.pop_back();
    } else if ((*it)[3].length() == 0) {
      open.push_back((*it)[2]);
    }
  }
  return open.empty() && count == static_cast<std::size_t>(std::count(svg.begin(), svg.end(), '<'));
}

TEST(SvgPlot, IsWellFormedWithPanelsSeriesAndWithout) {
  EXPECT_TRUE(is_well_formed(to_svg("empty", {}, 2)));
  EXPECT_TRUE(is_well_formed(to_svg("axes", {panel({})}, 1)));
  std::vector<Series> many;
  for (int i = 0; i < 9; ++i) many.push_back({fmt::format("s{}", i), {{1, i}, {2, i}}});
  EXPECT_TRUE(is_well_formed(to_svg("full", {panel(many), panel({many[0]}), panel({})}, 2)));
}

TEST(SvgPlot, PutsLargerValuesFartherRightAndHigher) {
  const auto points = circles(to_svg("t", {panel({{"a", {{1, 10}, {2, 20}, {4, 15}}}})}, 1));
  ASSERT_EQ(points.size(), 3u);
  EXPECT_NEAR(points[1].first - points[0].first, (points[2].first - points[0].first) / 3, 0.2);
  EXPECT_LT(points[1].second, points[2].second);
  EXPECT_NEAR(points[2].second, (points[0].second + points[1].second) / 2, 0.2);
}

TEST(SvgPlot, SpacesALogarithmicAxisByFactors) {
  Panel one = panel({{"a", {{1, 1}, {10, 2}, {100, 3}, {0, 9}, {-5, 9}}}});
  one.x.logarithmic = true;
  const auto points = circles(to_svg("t", {one}, 1));
  ASSERT_EQ(points.size(), 3u) << "0 and less have no logarithm";
  EXPECT_NEAR(points[1].first - points[0].first, points[2].first - points[1].first, 0.2);
}

TEST(SvgPlot, KeepsARangeThatItIsGiven) {
  Panel one = panel({{"a", {{1, 0.5}, {2, 0.5}}}});
  one.y.low = 0;
  one.y.high = 1;
  const std::string svg = to_svg("t", {one}, 1);
  EXPECT_THAT(svg, HasSubstr(">0.2<"));
  EXPECT_THAT(svg, HasSubstr(">1<"));
}

TEST(SvgPlot, LeavesOutWhatIsNotFinite) {
  const std::string svg =
      to_svg("t", {panel({{"a", {{1, 1}, {2, std::nan("")}, {3, INFINITY}, {4, 2}}}})}, 1);
  EXPECT_EQ(circles(svg).size(), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(SvgPlot, ShowsASinglePointAndAConstant) {
  EXPECT_EQ(circles(to_svg("t", {panel({{"a", {{3, 7}}}})}, 1)).size(), 1u);
  EXPECT_EQ(circles(to_svg("t", {panel({{"a", {{1, 7}, {2, 7}}}})}, 1)).size(), 2u);
}

TEST(SvgPlot, EscapesWhatAUserNames) {
  const std::string svg = to_svg("a < b & \"c\"", {panel({{"<script>", {{1, 1}}}})}, 1);
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, Not(HasSubstr("<script>")));
  EXPECT_TRUE(is_well_formed(svg));
}

TEST(SvgPlot, NamesEachSeriesOnceForAllPanels) {
  const Series series{"only", {{1, 1}}};
  const std::string svg = to_svg("t", {panel({series}), panel({series})}, 2);
  EXPECT_EQ(svg.find(">only<"), svg.rfind(">only<"));
}

}  // namespace
}  // namespace thinwire::launch
