// What several keys must agree on, as far as no model and no data is needed to judge.
#pragma once

#include <map>
#include <string>

#include "trainer/options/options.h"

namespace thinwire::launch {

// "section.key" -> "job.toml:12"; keys that were not given are absent.
using KeyPlaces = std::map<std::string, std::string>;

// Throws ConfigError that names the place of the first key of the constraint that was given, else the config.
void check_constraints(const trainer::Options& options, const std::string& config_name,
                       const KeyPlaces& places);

}  // namespace thinwire::launch
