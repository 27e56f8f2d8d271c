// Reading: the file, then the overrides, each key by the schema, then what several keys must agree on.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "launch/config/config.h"
#include "launch/config/constraints.h"
#include "launch/config/nearest.h"
#include "launch/config/schema.h"

namespace thinwire::launch {
namespace {

constexpr std::string_view kOverride = "--set ";

const Section* find_section(std::string_view name) {
  const auto& sections = schema();
  const auto found =
      std::find_if(sections.begin(), sections.end(), [&](const auto& s) { return s.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

const Key* find_key(std::string_view section_name, std::string_view name) {
  const Section* section = find_section(section_name);
  if (section == nullptr) return nullptr;
  const auto found = std::find_if(section->keys.begin(), section->keys.end(),
                                  [&](const auto& key) { return key.name == name; });
  return found == section->keys.end() ? nullptr : &*found;
}

// "outer.lr or inner.lr": sections that know a key of this name.
std::vector<std::string> homes_of(std::string_view name) {
  std::vector<std::string> homes;
  for (const Section& section : schema()) {
    if (find_key(section.name, name) != nullptr) homes.push_back(fmt::format("{}.{}", section.name, name));
  }
  return homes;
}

[[noreturn]] void refuse_unknown_section(const toml::key& key, bool is_table) {
  const std::string name(key.str());
  std::vector<std::string> names;
  for (const Section& section : schema()) names.push_back(section.name);
  const std::vector<std::string> homes = homes_of(name);
  const std::string place = place_of(key.source());
  if (!is_table && !homes.empty()) {
    throw ConfigError(fmt::format("{}: key \"{}\" stands outside a section; did you mean {}?", place, name,
                                  fmt::join(homes, " or ")));
  }
  throw ConfigError(
      fmt::format("{}: unknown section [{}]; did you mean [{}]?", place, name, nearest(name, names)));
}

void apply(const toml::table& document, trainer::Options& options, KeyPlaces& places) {
  for (const auto& [key, node] : document) {
    const Section* section = find_section(key.str());
    if (section == nullptr) refuse_unknown_section(key, node.is_table());
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      throw ConfigError(fmt::format("{}: expected a section [{}], found {}", place_of(node.source()),
                                    section->name, describe_node(node)));
    }
    read_fields(section->keys, *table, section->name, options);
    for (const auto& [name, value] : *table) {
      places[fmt::format("{}.{}", section->name, name.str())] = place_of(value.source());
    }
  }
}

toml::table parse_document(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw ConfigError(fmt::format("{}: not TOML: {}", place_of(error.source()), error.description()));
  }
}

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

// A bare word is a string; so is anything unquoted where the key takes text.
toml::table parse_override(const std::string& text) {
  const std::string name = std::string(kOverride) + text;
  const auto equals = text.find('=');
  const std::string key = trimmed(std::string_view(text).substr(0, equals));
  const auto dot = key.find('.');
  if (equals == std::string::npos || dot == std::string::npos ||
      key.find_first_of(" \t\n\"'=") != std::string::npos) {
    throw ConfigError(fmt::format("{}: expected section.key=value, such as outer.codec=e3m0", name));
  }
  const std::string value = trimmed(std::string_view(text).substr(equals + 1));
  const bool is_quoted = !value.empty() && (value.front() == '"' || value.front() == '\'');
  const Key* known = find_key(key.substr(0, dot), key.substr(dot + 1));
  if (known == nullptr || !known->is_text || is_quoted) {
    try {
      return toml::parse(key + " = " + value, name);
    } catch (const toml::parse_error&) {
      if (is_quoted || value.starts_with('[') || value.starts_with('{')) {
        throw ConfigError(fmt::format("{}: the value is not TOML", name));
      }
    }
  }
  return parse_document(key + " = " + toml_string(value), name);
}

}  // namespace

std::string place_of(const toml::source_region& region) {
  const std::string name = region.path ? *region.path : "config";
  return name.starts_with(kOverride) ? name : fmt::format("{}:{}", name, region.begin.line);
}

void refuse_unknown_key(const toml::key& key, const std::string& section,
                        const std::vector<std::string>& names) {
  const std::string name(key.str());
  std::vector<std::string> suggestions = homes_of(name);
  if (suggestions.empty()) suggestions.push_back(section + "." + nearest(name, names));
  throw ConfigError(fmt::format("{}: unknown key {}.{}; did you mean {}?", place_of(key.source()), section,
                                name, fmt::join(suggestions, " or ")));
}

trainer::Options parse_config(const std::string& toml, const std::string& name,
                              const std::vector<std::string>& overrides) {
  trainer::Options options;
  KeyPlaces places;
  apply(parse_document(toml, name), options, places);
  for (const std::string& text : overrides) apply(parse_override(text), options, places);
  check_constraints(options, name, places);
  return options;
}

trainer::Options load_config(const std::string& path, const std::vector<std::string>& overrides) {
  if (std::filesystem::is_directory(path)) {
    throw ConfigError(path + ": expected a TOML file, found a folder (to go on with a run: thinwire resume)");
  }
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file) {
    throw ConfigError(path + ": cannot be read; expected a TOML config file, see docs/config.md");
  }
  return parse_config(text, path, overrides);
}

}  // namespace thinwire::launch
