// Reading: the file, then the overrides, each key by the schema, then what several keys must agree on.
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <optional>

#include "launch/config/config.h"
#include "launch/config/config_file.h"
#include "launch/config/constraints.h"
#include "launch/config/lookup.h"
#include "launch/config/nearest.h"
#include "launch/config/overrides.h"
#include "launch/config/relevance.h"
#include "launch/config/schema.h"
#include "trainer/run_folder.h"
#include "trainer/stored_sizes.h"

namespace thinwire::launch {
namespace {

std::string absolute_path(const std::string& path) {
  const std::filesystem::path absolute = std::filesystem::absolute(path);
  // Behind a link "a/.." need not be where it stands.
  return path.find("..") == std::string::npos ? absolute.lexically_normal() : absolute;
}

// Options on the way: what was read so far, and where each key was given.
struct Reading {
  trainer::Options options;
  KeyPlaces places;
};

void apply(const toml::table& document, Reading& reading) {
  for (const auto& [key, node] : document) {
    const Section* section = find_section(key.str());
    if (section == nullptr) refuse_unknown_section(key, node);
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      throw ConfigError(fmt::format("{}: expected a section [{}], found {}", place_of(node.source()),
                                    section->name, describe_node(node)));
    }
    read_fields(section->keys, *table, section->name, reading.options);
    for (const auto& [name, value] : *table) {
      reading.places[fmt::format("{}.{}", section->name, name.str())] = place_of(value.source());
    }
  }
}

// Of the keys in `places`.
void make_paths_absolute(const KeyPlaces& places, trainer::Options& options) {
  for (const Section& section : schema()) {
    for (const Key& key : section.keys) {
      if (!key.each_path || !places.contains(section.name + "." + key.name)) continue;
      key.each_path(options, [](std::string& path) { path = absolute_path(path); });
    }
  }
}

// Back to its default.
void leave_out(const std::string& name, trainer::Options& options) {
  const auto dot = name.find('.');
  const Key& key = *find_key(name.substr(0, dot), name.substr(dot + 1));
  const toml::table table = parse_document("value = " + key.write(trainer::Options{}), name);
  key.read(options, *table.get("value"), name);
}

// Keys that were given and act on nothing. Those of the file that act by its own choices are set aside: an
// override took their meaning away.
void refuse_idle_keys(const Reading& file, Reading& all, std::vector<std::string>* notes) {
  std::map<std::string, std::vector<std::string>> set_aside;  // by the reason
  for (const auto& [key, place] : all.places) {
    const std::optional<Idle> idle = find_idle(key, all.options);
    if (!idle) continue;
    const auto in_file = file.places.find(key);
    const bool of_file = in_file != file.places.end() && in_file->second == place;
    if (!of_file || find_idle(key, file.options))
      throw ConfigError(fmt::format("{}: {}: {}; {}", place, key, idle->why, idle->instead));
    set_aside[idle->why].push_back(key);
  }
  for (const auto& [why, keys] : set_aside) {
    for (const std::string& key : keys) leave_out(key, all.options);
  }
  if (notes == nullptr) return;
  for (const auto& [why, keys] : set_aside)
    notes->push_back(fmt::format("{} of the config file set aside: {}", joined(keys), why));
}

// With ddp, what was not given is exact.
void resolve_exchange(const KeyPlaces& given, trainer::Options& options) {
  if (options.outer.method != "ddp" || given.contains("outer.codec")) return;
  options.outer.codec = "fp32";
  if (!given.contains("outer.error_feedback")) options.outer.error_feedback = false;
}

// Text that is neither a tokenizer's name nor a file is a slip of a name.
void refuse_misspelt_tokenizer(const Reading& reading) {
  const std::string& value = reading.options.data.tokenizer;
  const auto place = reading.places.find("data.tokenizer");
  std::error_code none;
  if (place == reading.places.end() || value == "bytes" || value == "bpe" ||
      value.find_first_of("/.") != std::string::npos || std::filesystem::exists(value, none))
    return;
  const std::string slip = suggestion(value, {"bytes", "bpe"});
  throw ConfigError(fmt::format("{}: data.tokenizer: expected bytes, bpe or a file{}, found \"{}\"",
                                place->second, slip.empty() ? "" : fmt::format(" (nearest: {})", slip),
                                value));
}

// The sizes of the model that a run starts from are its own.
void refuse_other_sizes(const Reading& reading) {
  const trainer::Options& options = reading.options;
  if (options.model.from.empty()) return;
  const std::optional<trainer::ModelOptions> base = trainer::stored_sizes(options.model.from);
  if (!base) return;  // the workers may have it, and say so themselves if not
  trainer::Options theirs = options;
  theirs.model = *base;
  theirs.model.from = options.model.from;
  for (const std::string& key : differing_keys(options, theirs)) {
    const auto place = reading.places.find(key);
    const Key* known = find_key("model", key.substr(key.find('.') + 1));
    const std::string mine = known->write(options);
    const bool follows = mine == "0";  // kv_heads, mlp_width, vocab
    if (place == reading.places.end() || follows) continue;
    throw ConfigError(fmt::format(
        "{}: {}: found {}, but the model at model.from = {} has {}; leave the key out, its sizes apply",
        place->second, key, mine, options.model.from, known->write(theirs)));
  }
}

enum class Paths { kAsGiven, kAbsolute };

trainer::Options read_config(const std::string& toml, const std::string& name,
                             const std::vector<std::string>& overrides, bool is_stored, Paths paths,
                             std::vector<std::string>* notes) {
  Reading file, all;
  apply(parse_document(toml, name), file);
  KeyPlaces places = file.places;  // for messages, where keys of a stored config do not count as given
  if (is_stored) file.places.clear();
  all = file;
  for (const std::string& text : overrides) apply(parse_override(text), all);
  for (const auto& [key, place] : all.places) places[key] = place;
  if (!is_stored) resolve_exchange(all.places, all.options);
  refuse_idle_keys(file, all, notes);
  check_constraints(all.options, name, places);
  if (paths == Paths::kAbsolute) {
    refuse_misspelt_tokenizer(all);
    make_paths_absolute(all.places, all.options);
    refuse_other_sizes(all);
  }
  return std::move(all.options);
}

}  // namespace

trainer::Options parse_config(const std::string& toml, const std::string& name,
                              const std::vector<std::string>& overrides, std::vector<std::string>* notes) {
  return read_config(toml, name, overrides, toml.starts_with(kStoredMark), Paths::kAsGiven, notes);
}

trainer::Options load_config(const std::string& path, const std::vector<std::string>& overrides,
                             std::vector<std::string>* notes) {
  const std::string text = read_config_file(path);
  return read_config(text, path, overrides, text.starts_with(kStoredMark), Paths::kAbsolute, notes);
}

trainer::Options load_run_config(const std::string& run_dir, const std::vector<std::string>& overrides) {
  const std::string path = run_dir + "/config.toml";
  trainer::require_seal(path);
  return read_config(read_config_file(path), path, overrides, true, Paths::kAbsolute, nullptr);
}

}  // namespace thinwire::launch
