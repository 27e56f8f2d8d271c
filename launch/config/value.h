// How each C++ type of an option stands in TOML: its name in messages, reading, writing.
#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace thinwire::launch {

// A TOML basic string.
std::string toml_string(std::string_view text);

// "string \"abc\"", "integer 7", "a table": what a node holds, for messages.
std::string describe_node(const toml::node& node);

// What is wrong with a node that is not of the type, and what to write instead where that is plain:
// "expected string, found integer 7; write \"7\"".
std::string type_problem(std::string_view type, const toml::node& node);

// kName; read: nullopt if the node is of another type; write: TOML that read takes back bit for bit.
template <class T>
struct ValueType;

template <>
struct ValueType<std::string> {
  static constexpr std::string_view kName = "string";
  static std::optional<std::string> read(const toml::node& node);
  static std::string write(const std::string& value) { return toml_string(value); }
};

template <>
struct ValueType<bool> {
  static constexpr std::string_view kName = "true or false";
  static std::optional<bool> read(const toml::node& node);
  static std::string write(bool value) { return value ? "true" : "false"; }
};

template <>
struct ValueType<std::int64_t> {
  static constexpr std::string_view kName = "integer";
  static std::optional<std::int64_t> read(const toml::node& node);
  static std::string write(std::int64_t value) { return std::to_string(value); }
};

template <>
struct ValueType<int> {
  static constexpr std::string_view kName = "integer";
  static std::optional<int> read(const toml::node& node);
  static std::string write(int value) { return std::to_string(value); }
};

// TOML integers are signed: 0 to 2^63 - 1.
template <>
struct ValueType<std::uint64_t> {
  static constexpr std::string_view kName = "integer, 0 or more";
  static std::optional<std::uint64_t> read(const toml::node& node);
  static std::string write(std::uint64_t value) { return std::to_string(value); }
};

// Finite; an integer will do.
template <>
struct ValueType<double> {
  static constexpr std::string_view kName = "number";
  static std::optional<double> read(const toml::node& node);
  static std::string write(double value);
};

std::string write_list(const std::vector<std::string>& items);

// A scalar where a list may stand is a list of one.
template <class T>
std::optional<std::vector<T>> read_list(const toml::node& node) {
  std::vector<T> items;
  const toml::array* array = node.as_array();
  if (array == nullptr) {
    auto one = ValueType<T>::read(node);
    if (!one) return std::nullopt;
    items.push_back(std::move(*one));
    return items;
  }
  for (const toml::node& element : *array) {
    auto item = ValueType<T>::read(element);
    if (!item) return std::nullopt;
    items.push_back(std::move(*item));
  }
  return items;
}

template <class T>
std::string write_list_of(const std::vector<T>& values) {
  std::vector<std::string> items;
  for (const T& value : values) items.push_back(ValueType<T>::write(value));
  return write_list(items);
}

template <>
struct ValueType<std::vector<std::string>> {
  static constexpr std::string_view kName = "list of strings";
  static std::optional<std::vector<std::string>> read(const toml::node& node) {
    return read_list<std::string>(node);
  }
  static std::string write(const std::vector<std::string>& values) { return write_list_of(values); }
};

template <>
struct ValueType<std::vector<double>> {
  static constexpr std::string_view kName = "list of numbers";
  static std::optional<std::vector<double>> read(const toml::node& node) { return read_list<double>(node); }
  static std::string write(const std::vector<double>& values) { return write_list_of(values); }
};

}  // namespace thinwire::launch
