// What options of the command line accept, in the words of the config's messages: CLI11 puts the option's
// name before them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace thinwire::launch {

CLI::Validator whole_number(std::int64_t least, std::int64_t most = std::numeric_limits<int>::max());
CLI::Validator number_of_at_least(double least);
CLI::Validator number_above(double limit);
// The message suggests the nearest.
CLI::Validator choice_of(const std::vector<std::string>& names);
CLI::Validator existing_file();  // or a pipe, or what else can be read
CLI::Validator existing_folder();

}  // namespace thinwire::launch
