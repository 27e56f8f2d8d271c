// Finding sections and keys of the schema by name, and what to say of names that are not in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/config/schema.h"

namespace thinwire::launch {

// How overrides are named in messages: kOverride and their text.
inline constexpr std::string_view kOverride = "--set ";

// Null if there is none.
const Section* find_section(std::string_view name);
const Key* find_key(std::string_view section, std::string_view name);

// "inner.lr", "outer.lr": sections that know a key of this name.
std::vector<std::string> homes_of(std::string_view name);

// "did you mean inner.lr or outer.lr?"
std::string did_you_mean(const std::vector<std::string>& names);

// Throws ConfigError that names the section meant, or all. node: what stands there.
[[noreturn]] void refuse_unknown_section(const toml::key& key, const toml::node& node);

}  // namespace thinwire::launch
