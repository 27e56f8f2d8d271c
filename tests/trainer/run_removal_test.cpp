#include "trainer/run_removal.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "tests/trainer/temporary_folder.h"
#include "trainer/run_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

void make_file(const std::string& path) {
  fs::create_directories(fs::path(path).parent_path());
  write_bytes(path, "0123456789");
}

// All that a run writes.
void fill(const std::string& run) {
  for (const char* name :
       {"config.toml", "config.toml.worker-1", "launch.json", "history.jsonl", "metrics.jsonl",
        "commits.jsonl", "summary.json", "summary.json.tmp", "tokenizer",
        "tensorboard/events.out.tfevents.1.host.7", "checkpoints/step-20/worker-0/state.safetensors",
        "checkpoints/step-20/worker-0/manifest.json", "checkpoints/step-20/worker-1/state.safetensors",
        "checkpoints/step-20/worker-1/manifest.json", "checkpoints/step-20/worker-1/on_all_workers",
        "checkpoints/step-7/worker-0.tmp/state.safetensors"})
    make_file(run + "/" + name);
}

std::set<std::string> files_in(const std::string& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory()) files.insert(fs::relative(entry.path(), folder));
  return files;
}

std::vector<std::string> names_of(const std::vector<RunItem>& items) {
  std::vector<std::string> names;
  for (const RunItem& item : items) names.push_back(item.what);
  return names;
}

TEST(RunRemoval, SaysWhatGoesWithItsSize) {
  const TemporaryFolder run;
  fill(run.path());
  const std::vector<RunItem> items = run_items(run.path());
  EXPECT_THAT(names_of(items), ElementsAre("config.toml", "launch.json", "checkpoints of steps 7, 20", "logs",
                                           "summary.json", "tokenizer"));
  EXPECT_EQ(items[2].bytes, 60u);
  EXPECT_EQ(items[3].bytes, 40u);
}

TEST(RunRemoval, LeavesNothingOfTheRun) {
  const TemporaryFolder run;
  fill(run.path());
  const RunLock lock(run.path());
  remove_run(run.path());
  EXPECT_THAT(files_in(run.path()), ElementsAre(".lock"));
  EXPECT_FALSE(fs::exists(run / "checkpoints"));
  EXPECT_FALSE(holds_run(run.path()));
  EXPECT_THAT(run_items(run.path()), IsEmpty());
}

TEST(RunRemoval, LeavesWhatTheRunHasNotMade) {
  const TemporaryFolder run;
  fill(run.path());
  const std::set<std::string> foreign = {"notes.txt",
                                         "cache/tokens-0.bin",
                                         "config.toml.worker-x",
                                         "metrics.jsonl.bak",
                                         "tensorboard/notes.txt",
                                         "checkpoints/best/model.safetensors",
                                         "checkpoints/step-20/worker-0/notes.txt",
                                         "checkpoints/step-20x/worker-0/state.safetensors"};
  for (const std::string& name : foreign) make_file(run / name);
  remove_run(run.path());
  EXPECT_EQ(files_in(run.path()), foreign);
}

TEST(RunRemoval, LooksThroughLinkedFoldersAndTakesLinksForFiles) {
  const TemporaryFolder run, elsewhere;
  make_file(elsewhere / "step-20/worker-0/state.safetensors");
  make_file(elsewhere / "precious.txt");
  fs::create_symlink(elsewhere.path(), run / "checkpoints");
  fs::create_symlink(elsewhere / "precious.txt", run / "summary.json");
  fs::create_symlink("nowhere", run / "tokenizer");
  remove_run(run.path());
  EXPECT_THAT(files_in(elsewhere.path()), ElementsAre("precious.txt"));
  EXPECT_TRUE(fs::is_symlink(run / "checkpoints"));
  EXPECT_FALSE(fs::is_symlink(run / "summary.json"));
  EXPECT_FALSE(fs::is_symlink(run / "tokenizer"));
}

TEST(RunRemoval, AFolderThatIsNotThereHoldsNothing) {
  const TemporaryFolder folder;
  EXPECT_THAT(run_items(folder / "none"), IsEmpty());
}

TEST(RunFolder, AnEmptyOrLinkedFolderOfCheckpointsIsNoRun) {
  const TemporaryFolder run, elsewhere;
  fs::create_symlink(elsewhere.path(), run / "checkpoints");
  EXPECT_FALSE(holds_run(run.path()));
  make_file(elsewhere / "step-1/worker-0/state.safetensors");
  EXPECT_TRUE(holds_run(run.path()));
}

TEST(RunFolder, ALinkThatLeadsNowhereIsNamed) {
  const TemporaryFolder folder;
  fs::create_symlink("nowhere", folder / "run");
  for (const char* end : {"", "/"}) {
    const std::string message = test::message_of([&] { holds_run(folder / "run" + end); });
    EXPECT_EQ(
        message,
        folder / "run" + ": is a link that leads nowhere, to nowhere; make that folder, or remove the link");
  }
  fs::create_directory(folder / "real");
  fs::create_symlink("nowhere", folder / "real/checkpoints");
  EXPECT_THAT(test::message_of([&] { holds_run(folder / "real"); }),
              ::testing::HasSubstr("real/checkpoints"));
}

TEST(RunFolder, TheOwnerOfALockIsWhoSignedItLast) {
  const TemporaryFolder run;
  EXPECT_EQ(RunLock::owner(run.path()), "");
  const RunLock lock(run.path());
  EXPECT_THAT(RunLock::owner(run.path()), ::testing::HasSubstr("process " + std::to_string(::getpid())));
}

}  // namespace
}  // namespace thinwire::trainer
