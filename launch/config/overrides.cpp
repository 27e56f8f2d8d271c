#include "launch/config/overrides.h"

#include <fmt/format.h>

#include <optional>

#include "launch/config/lookup.h"

namespace thinwire::launch {
namespace {

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

bool is_quoted(const std::string& text) {
  return !text.empty() && (text.front() == '"' || text.front() == '\'');
}

[[noreturn]] void refuse_value(const std::string& name, const std::string& value) {
  const bool looks_like_a_number = value.find_first_not_of("+-_.0123456789eE") == std::string::npos;
  if (looks_like_a_number && !value.empty() && value.size() > 18)
    throw ConfigError(fmt::format("{}: expected a number that fits into 64 bits", name));
  throw ConfigError(fmt::format(
      "{}: the value is not TOML; texts in a list or table go in quotes, and the whole in others: "
      "--set 'section.key=[\"a\", \"b\"]'",
      name));
}

// [a.txt, "b,c"]: at commas, and what is not in quotes is text. nullopt: not such a list.
std::optional<std::string> list_of_bare_words(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::vector<std::string> items;
  while (!trimmed(text).empty()) {
    text.remove_prefix(text.find_first_not_of(" \t"));
    const char quote = text.front() == '"' || text.front() == '\'' ? text.front() : ',';
    const auto end = text.find(quote, 1);
    if (quote != ',' && end == std::string_view::npos) return std::nullopt;
    const std::string word = trimmed(text.substr(0, quote == ',' ? end : end + 1));
    if (quote == ',' && word.find_first_of("\"'[]{}") != std::string::npos) return std::nullopt;
    items.push_back(quote == ',' ? toml_string(word) : word);
    text = quote == ',' && end == std::string_view::npos ? "" : text.substr(quote == ',' ? end : end + 1);
    const std::string rest = trimmed(text);
    if (!rest.empty() && rest.front() != ',') return std::nullopt;
    if (!rest.empty()) text.remove_prefix(text.find(',') + 1);
  }
  return write_list(items);
}

// The value as TOML: a bare word is a string; so is anything unquoted where the key takes text.
std::string override_value(const std::string& value, Bare bare) {
  if (is_quoted(value)) return value;
  if (bare == Bare::kText) return toml_string(value);
  if (bare != Bare::kListOfText) return value;
  if (!value.starts_with('[')) return toml_string(value);
  return list_of_bare_words(value).value_or(value);
}

}  // namespace

toml::table parse_document(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw ConfigError(fmt::format("{}: not TOML: {}", place_of(error.source()), error.description()));
  }
}

toml::table parse_override(const std::string& text) {
  const std::string name = std::string(kOverride) + text;
  const auto equals = text.find('=');
  const std::string key = trimmed(std::string_view(text).substr(0, equals));
  const auto dot = key.find('.');
  if (equals == std::string::npos || dot == std::string::npos || key.starts_with('.') || key.ends_with('.') ||
      key.find_first_of(" \t\n\"'=") != std::string::npos) {
    const std::vector<std::string> homes =
        dot == std::string::npos ? homes_of(key) : std::vector<std::string>();
    throw ConfigError(fmt::format("{}: expected section.key=value, {}", name,
                                  homes.empty() ? "such as outer.codec=e3m0" : did_you_mean(homes)));
  }
  const std::string value = trimmed(std::string_view(text).substr(equals + 1));
  const Key* known = find_key(key.substr(0, dot), key.substr(dot + 1));
  const std::string as_toml = override_value(value, known == nullptr ? Bare::kToml : known->bare);
  try {
    return toml::parse(key + " = " + as_toml, name);
  } catch (const toml::parse_error&) {
    const bool is_bare_word = value.find_first_of("\"'[]{}\n") == std::string::npos;
    const bool is_number = !value.empty() && value.find_first_not_of("+-_.0123456789eE") == std::string::npos;
    if (!is_bare_word || (is_number && value.size() > 18)) refuse_value(name, value);
  }
  return parse_document(key + " = " + toml_string(value), name);
}

}  // namespace thinwire::launch
