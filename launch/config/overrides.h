// --set section.key=value: the text of an override as a document of TOML.
#pragma once

#include <toml++/toml.h>
#include <string>
#include <string_view>

namespace thinwire::launch {

// Throws ConfigError that names the line. name: for messages.
toml::table parse_document(std::string_view text, const std::string& name);

// A bare word is a string; so is anything unquoted where the key takes text, and each item of an unquoted
// list of texts. Throws ConfigError that shows how to write it.
toml::table parse_override(const std::string& text);

}  // namespace thinwire::launch
