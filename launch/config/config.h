// The config file: one TOML file, typed, with the defaults of trainer/options.h; unknown keys are errors that
// suggest the nearest key. schema.cpp lists every key once: reading, writing, --set and docs/config.md follow
// it.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "trainer/options.h"

namespace thinwire::launch {

// A config that cannot be used: file, key, what was expected, what was found. Exit code 2.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Reads the file, then applies "section.key=value" overrides in order, then checks values that no model is
// needed to judge. Values of overrides are TOML; a bare word is a string.
trainer::Options load_config(const std::string& path, const std::vector<std::string>& overrides);
trainer::Options parse_config(const std::string& toml, const std::string& name,
                              const std::vector<std::string>& overrides);

// Every key with its value, in the schema's order; parse_config gives the same options back.
std::string to_toml(const trainer::Options& options);

// Keys that differ, as "section.key".
std::vector<std::string> differing_keys(const trainer::Options& a, const trainer::Options& b);

// docs/config.md.
std::string config_reference();

}  // namespace thinwire::launch
