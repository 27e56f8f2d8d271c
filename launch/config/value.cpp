#include "launch/config/value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <sstream>

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

namespace {

// A node's value as its text would be written between quotes; empty for lists and tables.
std::string quoted_scalar(const toml::node& node) {
  std::ostringstream text;
  if (node.is_string() || node.is_array() || node.is_table()) return {};
  node.visit([&text](const auto& held) {
    if constexpr (toml::is_value<decltype(held)>) text << held;
  });
  return toml_string(text.str());
}

// What stands in a list that does not belong there.
const toml::node& culprit_of(const toml::array& list, bool wants_text) {
  for (const toml::node& element : list) {
    if (wants_text ? !element.is_string() : !element.is_number()) return element;
  }
  return list.front();
}

bool is_not_finite(const toml::node& node) {
  const auto* number = node.as_floating_point();
  return number != nullptr && !std::isfinite(number->get());
}

// The advice after what was found: "; write \"7\"", or nothing.
std::string advice(std::string_view type, const toml::node& node) {
  if (type == ValueType<std::string>::kName || type == ValueType<std::vector<std::string>>::kName) {
    const std::string text = quoted_scalar(node);
    return text.empty() ? "" : "; write " + text;
  }
  const auto* number = node.as_floating_point();
  const bool is_whole =
      number != nullptr && std::floor(number->get()) == number->get() && std::abs(number->get()) < 9e15;
  if (type.starts_with(ValueType<std::int64_t>::kName) && is_whole)
    return fmt::format("; write {}", static_cast<std::int64_t>(number->get()));
  return "";
}

}  // namespace

std::string type_problem(std::string_view type, const toml::node& node) {
  const toml::array* list = node.as_array();
  const bool wants_text = type == ValueType<std::vector<std::string>>::kName;
  if (list != nullptr && !list->empty() && (wants_text || type == ValueType<std::vector<double>>::kName)) {
    const toml::node& culprit = culprit_of(*list, wants_text);
    if (is_not_finite(culprit)) return "expected finite numbers, found " + describe_node(culprit) + " in it";
    return fmt::format("expected {}, found {} in it{}", type, describe_node(culprit), advice(type, culprit));
  }
  if (is_not_finite(node)) {
    const bool wants_real = type == ValueType<double>::kName || type == ValueType<std::vector<double>>::kName;
    return fmt::format("expected {}, found {}", wants_real ? "a finite number" : type,
                       node.as_floating_point()->get());
  }
  if (const auto* number = node.as_integer(); number != nullptr && type == ValueType<int>::kName)
    return fmt::format("expected an integer of at most {}, found {}", std::numeric_limits<int>::max(),
                       number->get());
  return fmt::format("expected {}, found {}{}", type, describe_node(node), advice(type, node));
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
