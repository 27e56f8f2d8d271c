// Writing: the resolved config, what differs between two, and docs/config.md.
#include <fmt/format.h>

#include "launch/config/config.h"
#include "launch/config/schema.h"

namespace thinwire::launch {
namespace {

// In a table of Markdown a bar would end the cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

template <class Struct>
std::string reference_rows(const std::vector<Field<Struct>>& fields, const Struct& defaults) {
  std::string out = "| key | type | default | meaning | accepted |\n|---|---|---|---|---|\n";
  for (const Field<Struct>& field : fields) {
    out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", field.name, field.type,
                       cell(field.write(defaults)), cell(field.doc), cell(field.accepts));
  }
  return out;
}

}  // namespace

std::string to_toml(const trainer::Options& options) {
  std::string out(kStoredMark);
  for (const Section& section : schema()) {
    out += fmt::format("\n[{}]\n", section.name);
    for (const Key& key : section.keys) out += fmt::format("{} = {}\n", key.name, key.write(options));
  }
  return out;
}

std::string shared_config(const trainer::Options& options) {
  trainer::Options shared = options;
  std::string out;
  for (const Section& section : schema()) {
    for (const Key& key : section.keys) {
      if (section.name == "run" && key.name == "dir") continue;
      if (key.each_path) {
        key.each_path(shared, [](std::string& path) { path = "a path"; });
      }
      out += fmt::format("{}.{} = {}\n", section.name, key.name, key.write(shared));
    }
  }
  return out;
}

std::vector<std::string> differing_keys(const trainer::Options& a, const trainer::Options& b) {
  std::vector<std::string> names;
  for (const Section& section : schema()) {
    for (const Key& key : section.keys) {
      if (key.write(a) != key.write(b)) names.push_back(section.name + "." + key.name);
    }
  }
  return names;
}

std::string config_reference() {
  std::string out =
      "# The config file\n\n"
      "One TOML file; every key has a default, unknown keys are errors. A scalar may stand where a list "
      "may.\n"
      "`--set section.key=value` overrides a key on the command line; a bare word is a string.\n"
      "A key that means nothing beside the others (`outer.overlap` under `ddp`) is refused; if a `--set` "
      "takes\n"
      "away what a key of the file meant, the key is set aside, and a line says so. With `outer.method = "
      "ddp` a\n"
      "codec that is not given is `fp32`, without error feedback.\n"
      "Paths but `run.dir` are stored absolute in a run's config.\n"
      "This page is written by `thinwire --config-reference`.\n";
  const trainer::Options defaults;
  for (const Section& section : schema()) {
    out += fmt::format("\n## [{}]\n\n{}\n\n{}", section.name, section.doc,
                       reference_rows(section.keys, defaults));
    if (section.name == "quant") {
      out += "\n### [[quant.rule]]\n\n" + reference_rows(quant_rule_fields().all(), trainer::QuantRule{});
    }
  }
  return out;
}

}  // namespace thinwire::launch
