// Keys of one struct: what a table of the config file, or an entry of a list of tables, may hold.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launch/config/check.h"
#include "launch/config/config.h"
#include "launch/config/value.h"

namespace thinwire::launch {

// Says where in the user's text something stands: "job.toml:12", or "--set inner.lr=x".
std::string place_of(const toml::source_region& region);

// Throws ConfigError that suggests the nearest of the names, or the section in which the key is known.
[[noreturn]] void refuse_unknown_key(const toml::key& key, const std::string& section,
                                     const std::vector<std::string>& names);

// What an unquoted value on the command line is.
enum class Bare { kToml, kText, kListOfText };

// Changes a path in its place.
using PathChange = std::function<void(std::string&)>;

template <class Struct>
struct Field {
  std::string name;
  std::string type;     // in words
  std::string doc;      // one line
  std::string accepts;  // in words; empty: every value of the type
  Bare bare = Bare::kToml;
  // Calls for every path that the member holds; empty if it is no path to what the run learns from.
  std::function<void(Struct&, const PathChange&)> each_path = {};
  // Sets the member. Throws ConfigError that names place and key; `key` is the full name, "inner.lr".
  std::function<void(Struct&, const toml::node&, const std::string& key)> read;
  std::function<std::string(const Struct&)> write;  // as TOML
};

// Throws ConfigError for a node of the wrong type or a value that the check refuses.
template <class T>
T read_value(const toml::node& node, const std::string& key, const Check<T>& check) {
  std::optional<T> value = ValueType<T>::read(node);
  if (!value) {
    throw ConfigError(place_of(node.source()) + ": " + key + ": " + type_problem(ValueType<T>::kName, node));
  }
  if (check.problem) {
    const std::string problem = check.problem(*value);
    if (!problem.empty()) {
      throw ConfigError(place_of(node.source()) + ": " + key + ": " + problem + ", found " +
                        ValueType<T>::write(*value));
    }
  }
  return std::move(*value);
}

// The keys of a struct, collected one line each.
template <class Struct>
class Fields {
 public:
  template <class T>
  Fields& key(const char* name, T Struct::*member, const char* doc, Check<T> check = {}) {
    Field<Struct> field;
    field.name = name;
    field.type = ValueType<T>::kName;
    field.doc = doc;
    field.accepts = check.words;
    if (std::is_same_v<T, std::string>) field.bare = Bare::kText;
    if (std::is_same_v<T, std::vector<std::string>>) field.bare = Bare::kListOfText;
    field.read = [member, check](Struct& target, const toml::node& node, const std::string& key) {
      target.*member = read_value<T>(node, key, check);
    };
    field.write = [member](const Struct& source) { return ValueType<T>::write(source.*member); };
    fields_.push_back(std::move(field));
    return *this;
  }

  // The last key holds paths. names: values of it that are none.
  Fields& is_path(std::vector<std::string> Struct::*member) {
    fields_.back().each_path = [member](Struct& target, const PathChange& change) {
      for (std::string& path : target.*member) change(path);
    };
    return *this;
  }
  Fields& is_path(std::string Struct::*member, std::vector<std::string> names = {""}) {
    fields_.back().each_path = [member, names = std::move(names)](Struct& target, const PathChange& change) {
      std::string& path = target.*member;
      if (std::find(names.begin(), names.end(), path) == names.end()) change(path);
    };
    return *this;
  }

  const std::vector<Field<Struct>>& all() const { return fields_; }

 private:
  std::vector<Field<Struct>> fields_;
};

// Reads every key of `table` into target. section: of the messages, "inner".
template <class Struct>
void read_fields(const std::vector<Field<Struct>>& fields, const toml::table& table,
                 const std::string& section, Struct& target) {
  for (const auto& [key, node] : table) {
    const auto field =
        std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f.name == key.str(); });
    if (field == fields.end()) {
      std::vector<std::string> names;
      for (const auto& known : fields) names.push_back(known.name);
      refuse_unknown_key(key, section, names);
    }
    field->read(target, node, section + "." + field->name);
  }
}

}  // namespace thinwire::launch
