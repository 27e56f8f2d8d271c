// What a run has made in its folder, and its removal for a run that begins anew there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thinwire::trainer {

// Things of one kind.
struct RunItem {
  std::string what;                // "checkpoints of steps 14, 20"
  std::vector<std::string> files;  // what a run writes, by full path; nothing else in the folder is of a run
  std::uint64_t bytes = 0;
};

// config.toml comes first: a folder without it cannot be gone on with. The lock and the cache of tokens,
// which is found by its content, stay and are not named. Links to folders are looked through. Empty where
// there is no folder; throws std::filesystem::filesystem_error if it cannot be read.
std::vector<RunItem> run_items(const std::string& run_dir);

// Removes the files of run_items, and the folders of checkpoints and TensorBoard that are empty then, links
// to folders left where they are. Call it while holding the run's lock.
void remove_run(const std::string& run_dir);

}  // namespace thinwire::trainer
