// The names that each registry knows, in its order; one line of registration adds a name here, to the config
// and to the messages. No torch header: the config needs names, not types.
#pragma once

#include <string>
#include <vector>

namespace thinwire::trainer {

std::vector<std::string> model_archs();       // trainer/model/registry.cpp
std::vector<std::string> task_kinds();        // trainer/task/registry.cpp
std::vector<std::string> inner_optimizers();  // trainer/inner/registry.cpp
std::vector<std::string> outer_methods();     // trainer/outer/registry.cpp

// The config's keys, "outer.overlap", that only some of a registry's entries read, by entry: with another
// they mean nothing, and the config refuses them.
struct EntryKeys {
  std::string name;
  std::vector<std::string> keys;
};
std::vector<EntryKeys> task_keys();
std::vector<EntryKeys> optimizer_keys();
std::vector<EntryKeys> method_keys();

}  // namespace thinwire::trainer
