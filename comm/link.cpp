#include "comm/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "comm/shaped_transport.h"

namespace thinwire::comm {

namespace {

constexpr std::uint64_t kPacketPayload = 1448;
constexpr std::uint64_t kPacketHeaders = 66;

struct Unit {
  std::string_view name;
  double factor;
};
// Largest first; a name that ends in another comes before it.
constexpr std::array<Unit, 4> kRateUnits = {{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}};
constexpr std::array<Unit, 3> kTimeUnits = {{{"ms", 1e-3}, {"us", 1e-6}, {"s", 1}}};

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw std::invalid_argument(fmt::format(
      "comm.link: {} in \"{}\"; expected RATE/RTT, up=RATE,down=RATE,rtt=TIME or unlimited, with rates in "
      "bit, kbit, mbit or gbit per second and times in us, ms or s: 20mbit/40ms",
      why, text));
}

// "20mbit" with kRateUnits is 2e7.
template <std::size_t n>
std::optional<double> quantity(std::string_view text, const std::array<Unit, n>& units) {
  for (const Unit& unit : units) {
    if (!text.ends_with(unit.name)) continue;
    const std::string_view digits = text.substr(0, text.size() - unit.name.size());
    double number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    if (!std::isfinite(number) || number < 0) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

double rate(std::string_view whole, std::string_view text) {
  const auto value = quantity(text, kRateUnits);
  if (!value) refuse(whole, fmt::format("\"{}\" is no rate", text));
  // Below a bit per second nothing would ever arrive; above a terabit there is nothing to shape.
  if (*value < 1 || *value > 1e12)
    refuse(whole, fmt::format("rate \"{}\" is outside 1bit to 1000gbit", text));
  return *value;
}

double time(std::string_view whole, std::string_view text) {
  const auto value = quantity(text, kTimeUnits);
  if (!value) refuse(whole, fmt::format("\"{}\" is no time", text));
  if (*value > 60) refuse(whole, fmt::format("round trip \"{}\" is longer than 60s", text));
  return *value;
}

LinkSpec parse_symmetric(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) refuse(text, "no round trip");
  const double bits_per_s = rate(text, text.substr(0, slash));
  return {bits_per_s, bits_per_s, time(text, text.substr(slash + 1))};
}

LinkSpec parse_keyed(std::string_view text) {
  LinkSpec link;
  std::string seen;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    const std::size_t equals = std::min(item.find('='), item.size());
    const std::string_view key = item.substr(0, equals);
    const std::string_view value = item.substr(std::min(equals + 1, item.size()));
    if (seen.find(fmt::format("{},", key)) != std::string::npos)
      refuse(text, fmt::format("\"{}\" twice", key));
    seen += fmt::format("{},", key);
    if (key == "up") {
      link.up_bits_per_s = rate(text, value);
    } else if (key == "down") {
      link.down_bits_per_s = rate(text, value);
    } else if (key == "rtt") {
      link.rtt_s = time(text, value);
    } else {
      refuse(text, fmt::format("unknown key \"{}\"", key));
    }
  }
  return link;
}

// In the largest unit that leaves a number of at least 1; 12 digits hide what the division rounds.
template <std::size_t n>
std::string quantity_text(double value, std::array<Unit, n> units) {
  std::sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) { return a.factor > b.factor; });
  const auto fits = [&](const Unit& unit) { return value / unit.factor >= 1; };
  const auto unit = std::find_if(units.begin(), units.end() - 1, fits);
  return fmt::format("{:.12g}{}", value / unit->factor, unit->name);
}

}  // namespace

LinkSpec parse_link(std::string_view text) {
  if (text == "unlimited") return {};
  if (text.empty()) refuse(text, "nothing");
  return text.find('=') == std::string_view::npos ? parse_symmetric(text) : parse_keyed(text);
}

std::string to_string(const LinkSpec& link) {
  if (link.unlimited()) return "unlimited";
  const std::string rtt = link.rtt_s == 0 ? "0ms" : quantity_text(link.rtt_s, kTimeUnits);
  if (link.up_bits_per_s == link.down_bits_per_s && link.up_bits_per_s > 0) {
    return fmt::format("{}/{}", quantity_text(link.up_bits_per_s, kRateUnits), rtt);
  }
  std::string text;
  if (link.up_bits_per_s > 0) text += fmt::format("up={},", quantity_text(link.up_bits_per_s, kRateUnits));
  if (link.down_bits_per_s > 0)
    text += fmt::format("down={},", quantity_text(link.down_bits_per_s, kRateUnits));
  return text + fmt::format("rtt={}", rtt);
}

std::uint64_t ethernet_bytes(std::uint64_t bytes) {
  const std::uint64_t packets =
      std::max<std::uint64_t>(1, bytes / kPacketPayload + (bytes % kPacketPayload != 0));
  return bytes + packets * kPacketHeaders;
}

std::unique_ptr<Communicator> shape(std::unique_ptr<Communicator> inner, const LinkSpec& link) {
  if (link.unlimited()) return inner;
  inner->wrap([&](std::unique_ptr<Transport> transport) {
    return make_shaped_transport(std::move(transport), link);
  });
  return inner;
}

}  // namespace thinwire::comm
