// The config file: one TOML file, typed, with the defaults of trainer/options.h; unknown keys are errors that
// suggest the nearest key. schema.cpp lists every key once: reading, writing, --set and docs/config.md follow
// it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/options/options.h"

namespace thinwire::launch {

// A config that cannot be used: file, key, what was expected, what was found. Exit code 2.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A user's config: reads the file, then applies "section.key=value" overrides in order, then checks what no
// model is needed to judge. Values of overrides are TOML; a bare word is a string. What follows from what was
// not given is resolved: with outer.method = ddp, a codec that was not given is fp32, without error feedback.
// Paths (but run.dir) become absolute. A key that was given and means nothing beside the others is refused;
// if it is the file's and an override took its meaning away, it is set aside and named in `notes`. Where
// model.from can be read, sizes that were given must be its own.
trainer::Options load_config(const std::string& path, const std::vector<std::string>& overrides,
                             std::vector<std::string>* notes = nullptr);
// The same without the paths and model.from: of text, at no place.
trainer::Options parse_config(const std::string& toml, const std::string& name,
                              const std::vector<std::string>& overrides,
                              std::vector<std::string>* notes = nullptr);
// The config of a run's folder: every key is written down in it, so none counts as given; paths stay as they
// are, but those of overrides become absolute. Throws std::runtime_error that names the file if it is not as
// the run wrote it.
trainer::Options load_run_config(const std::string& run_dir, const std::vector<std::string>& overrides);

// Every key with its value, in the schema's order, under a first line by which all of the above know a stored
// config; parse_config gives the same options back.
std::string to_toml(const trainer::Options& options);

// "section.key = value" lines that must be equal on all workers: all keys but run.dir; of a path only that
// there is one, since hosts may keep the same files at different places.
std::string shared_config(const trainer::Options& options);

// Keys that differ, as "section.key".
std::vector<std::string> differing_keys(const trainer::Options& a, const trainer::Options& b);

// How to_toml begins.
inline constexpr std::string_view kStoredMark =
    "# Every key of this run with its value, as thinwire wrote it down.\n";

// docs/config.md.
std::string config_reference();

}  // namespace thinwire::launch
