#include "launch/config/value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>

namespace thinwire::launch {

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string describe_node(const toml::node& node) {
  if (const auto* text = node.as_string()) return "string " + toml_string(text->get());
  if (const auto* number = node.as_integer()) return fmt::format("integer {}", number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("number {}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "boolean true" : "boolean false";
  if (node.is_table()) return "a table";
  if (const toml::array* array = node.as_array()) {
    if (array->empty()) return "an empty list";
    return "a list that starts with " + describe_node(array->front());
  }
  return "a date or time";
}

std::optional<std::string> ValueType<std::string>::read(const toml::node& node) {
  const auto* text = node.as_string();
  return text == nullptr ? std::nullopt : std::optional(text->get());
}

std::optional<bool> ValueType<bool>::read(const toml::node& node) {
  const auto* flag = node.as_boolean();
  return flag == nullptr ? std::nullopt : std::optional(flag->get());
}

std::optional<std::int64_t> ValueType<std::int64_t>::read(const toml::node& node) {
  const auto* number = node.as_integer();
  return number == nullptr ? std::nullopt : std::optional(number->get());
}

std::optional<int> ValueType<int>::read(const toml::node& node) {
  const auto number = ValueType<std::int64_t>::read(node);
  if (!number || *number < std::numeric_limits<int>::min() || *number > std::numeric_limits<int>::max()) {
    return std::nullopt;
  }
  return static_cast<int>(*number);
}

std::optional<std::uint64_t> ValueType<std::uint64_t>::read(const toml::node& node) {
  const auto number = ValueType<std::int64_t>::read(node);
  if (!number || *number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

std::optional<double> ValueType<double>::read(const toml::node& node) {
  if (const auto* number = node.as_integer()) return static_cast<double>(number->get());
  const auto* number = node.as_floating_point();
  if (number == nullptr || !std::isfinite(number->get())) return std::nullopt;
  return number->get();
}

std::string ValueType<double>::write(double value) {
  std::string text = fmt::format("{}", value);  // the shortest that reads back to the same double
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string write_list(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, ", "));
}

}  // namespace thinwire::launch
