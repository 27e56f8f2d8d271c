#include "trainer/checkpoint.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <functional>
#include <limits>

#include "tests/trainer/child_process.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/fault_point.h"
#include "trainer/format/manifest.h"
#include "trainer/format/safetensors.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using test::in_child;
using test::limit_files_to;
using test::message_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Steps = std::vector<std::int64_t>;

State sample_state(float value, std::int64_t n = 100) {
  State state;
  state.tensors["inner/m"] = at::full({n}, value);
  state.tensors["data/position"] = at::scalar_tensor(42, at::kLong);
  state.meta = {{"loss", value}, {"data", {{"epoch", 3}}}};
  return state;
}

std::string file_in(const std::string& run, std::int64_t step, int worker, const std::string& name) {
  return run + "/checkpoints/step-" + std::to_string(step) + "/worker-" + std::to_string(worker) + "/" + name;
}

// As a worker does whose world has no other.
void save(CheckpointStore& store, std::int64_t step) {
  std::string why;
  ASSERT_TRUE(store.save(step, sample_state(static_cast<float>(step)), &why)) << why;
  store.prune(step);
}

Steps whole_steps(CheckpointStore& store) {
  store.check();
  return {store.held().begin(), store.held().end()};
}

// What is under a folder, relative to it, files and folders.
std::vector<std::string> listing(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    names.push_back(fs::relative(entry.path(), folder));
  }
  std::sort(names.begin(), names.end());
  return names;
}

class FaultVariable {
 public:
  explicit FaultVariable(const char* value) { ::setenv("THINWIRE_FAULT", value, 1); }
  ~FaultVariable() { ::unsetenv("THINWIRE_FAULT"); }
};

TEST(Checkpoint, AStateComesBackBitForBit) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 3);
  State state = sample_state(0.1f);
  state.tensors["empty"] = at::empty({0, 3}, at::kBFloat16);
  state.tensors["nan"] = at::full({3}, std::nan(""));
  state.meta["exact"] = {0.1,
                         1.0 / 3,
                         5e-324,
                         -0.0,
                         1e300,
                         3.0,
                         std::numeric_limits<std::int64_t>::min(),
                         std::numeric_limits<std::uint64_t>::max(),
                         std::uint64_t{1} << 53 | 1};
  state.meta["text"] = "\xc3\xa4\n\"";
  state.meta["nothing"] = nullptr;
  ASSERT_TRUE(store.save(7, state, nullptr));

  const State back = store.load(7);
  EXPECT_EQ(back.meta, state.meta);
  EXPECT_EQ(back.meta.dump(), state.meta.dump());
  EXPECT_TRUE(std::signbit(back.meta["exact"][3].get<double>()));
  EXPECT_TRUE(back.meta["exact"][5].is_number_float());
  ASSERT_EQ(back.tensors.size(), state.tensors.size());
  for (const auto& [name, tensor] : state.tensors) {
    const at::Tensor& found = back.tensors.at(name);
    ASSERT_EQ(found.scalar_type(), tensor.scalar_type()) << name;
    ASSERT_EQ(found.sizes(), tensor.sizes()) << name;
    EXPECT_EQ(std::memcmp(found.const_data_ptr(), tensor.const_data_ptr(), tensor.nbytes()), 0) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(found.const_data_ptr()) % 64, 0u) << name;
  }
}

TEST(Checkpoint, OnlyTheNewestStay) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 2);
  for (std::int64_t step = 10; step <= 50; step += 10) save(store, step);
  EXPECT_EQ(whole_steps(store), (Steps{40, 50}));
  EXPECT_THAT(listing(run / "checkpoints"),
              ElementsAre("step-40", "step-40/worker-0", "step-40/worker-0/manifest.json",
                          "step-40/worker-0/on_all_workers", "step-40/worker-0/state.safetensors", "step-50",
                          "step-50/worker-0", "step-50/worker-0/manifest.json",
                          "step-50/worker-0/on_all_workers", "step-50/worker-0/state.safetensors"));
}

TEST(Checkpoint, StepsAreOrderedAsNumbers) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 2);
  for (const std::int64_t step : {8, 9, 10, 100}) save(store, step);
  EXPECT_EQ(whole_steps(store), (Steps{10, 100}));
}

TEST(Checkpoint, AWorkerLeavesTheOthersCheckpointsAlone) {
  TemporaryFolder run;
  CheckpointStore first(run.path(), 0, 1), second(run.path(), 1, 1);
  save(first, 10);
  save(second, 10);
  save(first, 20);
  EXPECT_EQ(whole_steps(first), (Steps{20}));
  EXPECT_EQ(whole_steps(second), (Steps{10}));
}

TEST(Checkpoint, AnOldOneStaysUntilAllWorkersHoldANewerOne) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 1);
  for (const std::int64_t step : {10, 20, 30}) ASSERT_TRUE(store.save(step, sample_state(1), nullptr));
  EXPECT_EQ(whole_steps(store), (Steps{10, 20, 30}));
  store.prune(20);  // another worker has no 30 yet
  EXPECT_EQ(whole_steps(store), (Steps{20, 30}));
  const std::vector<CheckpointCheck> checks = store.check();
  EXPECT_TRUE(checks[0].on_all_workers);
  EXPECT_FALSE(checks[1].on_all_workers);
}

TEST(Checkpoint, WhatIsLeftBehindByAResumeGoesWithWhatIsDamaged) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 5);
  for (const std::int64_t step : {10, 20, 30, 40}) save(store, step);
  write_bytes(file_in(run.path(), 10, 0, "manifest.json"), "{}");
  EXPECT_EQ(whole_steps(store), (Steps{20, 30, 40}));
  store.drop_after(30);
  EXPECT_EQ(whole_steps(store), (Steps{20, 30}));
  EXPECT_FALSE(fs::exists(run / "checkpoints/step-10"));
}

TEST(Checkpoint, StartingOverLeavesNone) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 5);
  for (const std::int64_t step : {10, 20}) save(store, step);
  store.drop_after(0);
  EXPECT_TRUE(listing(run / "checkpoints").empty());
}

TEST(Checkpoint, ACheckpointOfTheSameStepIsReplaced) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 2);
  save(store, 10);
  ASSERT_TRUE(store.save(10, sample_state(-1), nullptr));
  EXPECT_EQ(store.load(10).meta["loss"], -1.0);
  EXPECT_THAT(listing(run / "checkpoints/step-10"),
              ElementsAre("worker-0", "worker-0/manifest.json", "worker-0/state.safetensors"));
}

TEST(Checkpoint, EveryFlippedByteIsFoundAndItsFileNamed) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 3);
  save(store, 10);
  save(store, 20);
  for (const char* name : {"manifest.json", "state.safetensors"}) {
    const std::string path = file_in(run.path(), 20, 0, name);
    const std::string whole = read_bytes(path);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ 1 << i % 8);
      write_bytes(path, flipped);
      ASSERT_EQ(whole_steps(store), (Steps{10})) << name << " byte " << i;
      const std::string message = message_of([&] { store.load(20); });
      ASSERT_THAT(message, HasSubstr(path));
    }
    write_bytes(path, whole);
  }
  EXPECT_EQ(whole_steps(store), (Steps{10, 20}));
}

TEST(Checkpoint, MissingAndExtraBytesAreFoundWithTheSizesExpectedAndFound) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 3);
  save(store, 20);
  for (const char* name : {"manifest.json", "state.safetensors"}) {
    const std::string path = file_in(run.path(), 20, 0, name);
    const std::string whole = read_bytes(path);
    for (const std::string& bytes :
         {whole.substr(0, whole.size() - 1), whole + " ", whole + "\n", std::string()}) {
      write_bytes(path, bytes);
      EXPECT_THAT(message_of([&] { store.load(20); }), HasSubstr(path));
    }
    fs::remove(path);
    EXPECT_THAT(message_of([&] { store.load(20); }), HasSubstr(path));
    write_bytes(path, whole);
  }
  const std::string path = file_in(run.path(), 20, 0, "state.safetensors");
  const std::string size = std::to_string(fs::file_size(path));
  const std::string shorter = std::to_string(fs::file_size(path) - 1);
  fs::resize_file(path, fs::file_size(path) - 1);
  const std::string message = message_of([&] { store.load(20); });
  EXPECT_THAT(message, HasSubstr("expected " + size + " bytes"));
  EXPECT_THAT(message, HasSubstr("found " + shorter + " bytes"));
}

TEST(Checkpoint, AManifestOfAnotherStepOrWorkerIsRefused) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 3);
  save(store, 10);
  fs::rename(run / "checkpoints/step-10", run / "checkpoints/step-11");
  EXPECT_THAT(message_of([&] { store.load(11); }), HasSubstr("found step 10 of worker 0"));
  fs::rename(run / "checkpoints/step-11/worker-0", run / "checkpoints/step-11/worker-1");
  EXPECT_FALSE(verify_checkpoints(run.path()).at(0).whole);
}

TEST(Checkpoint, AManifestThatNamesOtherFilesIsRefused) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 3);
  save(store, 10);
  const std::string path = file_in(run.path(), 10, 0, "manifest.json");
  Manifest manifest = parse_manifest(read_bytes(path));
  manifest.files["elsewhere"] = {};
  write_bytes(path, to_text(manifest));
  EXPECT_THAT(message_of([&] { store.load(10); }), HasSubstr("expected one file, state.safetensors"));
}

// A program that rewrites a checkpoint may seal it again; what a tensor was stands in the manifest all the
// same.
TEST(Checkpoint, ATensorFileOfAnotherDtypeIsRefusedThoughItsHashIsRight) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 3);
  save(store, 20);
  const std::string path = file_in(run.path(), 20, 0, "manifest.json");
  Manifest manifest = parse_manifest(read_bytes(path));
  EXPECT_EQ(manifest.tensors,
            (std::map<std::string, TensorSpec>{{"inner/m", {"F32", {100}}}, {"data/position", {"I64", {}}}}));
  const std::string tensors = file_in(run.path(), 20, 0, "state.safetensors");
  SafetensorsFile file = read_safetensors(tensors);
  file.tensors["inner/m"] = file.tensors["inner/m"].view(at::kInt);
  manifest.files["state.safetensors"] = write_safetensors(tensors, file);
  write_bytes(path, to_text(manifest));
  EXPECT_THAT(message_of([&] { store.load(20); }),
              HasSubstr("'inner/m': expected F32 [100], as the manifest says, found I32 [100]"));
  EXPECT_FALSE(verify_checkpoints(run.path()).at(0).whole);
}

TEST(Checkpoint, VerifyTellsWhatIsWholeOfEveryWorkerAndStep) {
  TemporaryFolder run;
  CheckpointStore first(run.path(), 0, 3), second(run.path(), 1, 3);
  save(first, 9);
  save(second, 9);
  save(first, 10);
  save(second, 10);
  fs::remove(file_in(run.path(), 9, 1, "state.safetensors"));
  fs::create_directories(run / "checkpoints/step-10/worker-1.tmp");
  fs::create_directories(run / "checkpoints/step-010/worker-0");
  fs::create_directories(run / "checkpoints/other");
  const std::vector<CheckpointCheck> checks = verify_checkpoints(run.path());
  ASSERT_EQ(checks.size(), 4u);
  for (const CheckpointCheck& check : checks) {
    const bool broken = check.step == 9 && check.worker == 1;
    EXPECT_EQ(check.whole, !broken) << check.step << " " << check.worker;
    ASSERT_EQ(check.problems.size(), broken ? 1u : 0u);
    if (broken) {
      EXPECT_EQ(check.problems[0].file, file_in(run.path(), 9, 1, "state.safetensors"));
      EXPECT_THAT(check.problems[0].what, HasSubstr("No such file"));
    }
  }
}

TEST(Checkpoint, ARunWithoutCheckpointsHasNone) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 3);
  EXPECT_TRUE(whole_steps(store).empty());
  EXPECT_TRUE(verify_checkpoints(run.path()).empty());
  EXPECT_THAT(message_of([&] { store.load(1); }), HasSubstr("step 1 of worker 0 is not whole"));
  EXPECT_THAT(message_of([&] { verify_checkpoints(run / "none"); }), HasSubstr("expected a run's folder"));
}

TEST(Checkpoint, AProcessKilledInTheWriteLeavesTheOlderOneWhole) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 1, 3);
  save(store, 10);
  const std::string before = read_bytes(file_in(run.path(), 10, 1, "state.safetensors"));
  FaultVariable fault("checkpoint_write:20:1");
  const int status = in_child([&] { store.save(20, sample_state(2), nullptr); });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  // The kill came in the middle of the tensor file.
  const std::string torn = run / "checkpoints/step-20/worker-1.tmp/state.safetensors";
  EXPECT_EQ(fs::file_size(torn), fs::file_size(file_in(run.path(), 10, 1, "state.safetensors")) / 2);
  EXPECT_EQ(whole_steps(store), (Steps{10}));
  EXPECT_EQ(read_bytes(file_in(run.path(), 10, 1, "state.safetensors")), before);
  // The next save clears what was left.
  save(store, 30);
  EXPECT_FALSE(fs::exists(run / "checkpoints/step-20"));
  EXPECT_EQ(whole_steps(store), (Steps{10, 30}));
}

TEST(Checkpoint, AFaultForAnotherStepOrWorkerDoesNothing) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 1, 3);
  for (const char* value :
       {"checkpoint_write:2", "checkpoint_write:20:0", "checkpoint_write", "checkpoint_full:200"}) {
    FaultVariable fault(value);
    save(store, 20);
  }
}

TEST(Checkpoint, AFullDiskIsReportedAndNothingOlderIsLost) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 1);
  save(store, 10);
  std::string why;
  {
    FaultVariable fault("checkpoint_full:20");
    EXPECT_FALSE(store.save(20, sample_state(2), &why));
  }
  EXPECT_THAT(why, HasSubstr("step 20"));
  EXPECT_THAT(why, HasSubstr("No space left"));
  EXPECT_EQ(whole_steps(store), (Steps{10}));
  EXPECT_FALSE(fs::exists(run / "checkpoints/step-20"));
  save(store, 30);
  EXPECT_EQ(whole_steps(store), (Steps{30}));
}

TEST(Checkpoint, AFileSizeLimitCountsAsAFullDisk) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 1);
  save(store, 10);
  const int status = in_child([&] {
    limit_files_to(2000);
    std::string why;
    if (store.save(20, sample_state(2, 1000), &why)) ::_exit(1);
    if (why.find("File too large") == std::string::npos) ::_exit(2);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(whole_steps(store), (Steps{10}));
  EXPECT_FALSE(fs::exists(run / "checkpoints/step-20"));
}

TEST(Checkpoint, ADiskThatReallyFillsUpLosesNothingOlder) {
  TemporaryFolder folder;
  const std::string disk = folder / "disk";
  fs::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=128k") != 0) {
    GTEST_SKIP() << "mounting a small tmpfs needs root: " << std::strerror(errno);
  }
  CheckpointStore store(disk, 0, 1);
  std::string why;
  const bool first = store.save(10, sample_state(1, 10000), &why);
  const bool second = store.save(20, sample_state(2, 30000), &why);
  const Steps steps = whole_steps(store);
  const bool left = fs::exists(disk + "/checkpoints/step-20");
  const bool third = store.save(30, sample_state(3, 5000), nullptr);
  store.prune(30);
  const Steps later = whole_steps(store);
  ASSERT_EQ(::umount(disk.c_str()), 0);
  EXPECT_TRUE(first);
  EXPECT_FALSE(second);
  EXPECT_THAT(why, HasSubstr("No space left"));
  EXPECT_EQ(steps, (Steps{10}));
  EXPECT_FALSE(left);
  EXPECT_TRUE(third);
  EXPECT_EQ(later, (Steps{30}));
}

TEST(Checkpoint, OtherFailuresThrowAndLoseNothingOlder) {
  TemporaryFolder run;
  write_bytes(run / "file", "");
  CheckpointStore nowhere(run / "file", 0, 1);
  EXPECT_THAT(message_of([&] { nowhere.save(1, {}, nullptr); }), HasSubstr(run / "file"));

  CheckpointStore store(run.path(), 0, 1);
  save(store, 10);
  State unwritable = sample_state(2);
  unwritable.tensors["z"] = at::ones({2}, at::kComplexFloat);
  EXPECT_THAT(message_of([&] { store.save(20, unwritable, nullptr); }), HasSubstr("'z'"));
  State not_text = sample_state(2);
  not_text.meta["text"] = "\xff";
  EXPECT_THAT(message_of([&] { store.save(20, not_text, nullptr); }), HasSubstr("UTF-8"));
  EXPECT_EQ(whole_steps(store), (Steps{10}));
  EXPECT_FALSE(fs::exists(run / "checkpoints/step-20"));
}

TEST(Checkpoint, AFolderThatMayNotBeEnteredIsNamed) {
  TemporaryFolder run;
  CheckpointStore store(run.path(), 0, 1);
  save(store, 10);
  ASSERT_EQ(::chmod(run.path().c_str(), 0), 0);
  const int status = in_child([&] {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(98);
    const auto named = [&](const std::string& message) {
      return message.find(run.path()) != std::string::npos &&
             message.find("Permission denied") != std::string::npos;
    };
    if (!named(message_of([&] { store.save(20, sample_state(2), nullptr); }))) ::_exit(1);
    if (!named(message_of([&] { whole_steps(store); }))) ::_exit(2);
    if (!named(message_of([&] { store.load(10); }))) ::_exit(3);
    if (!named(message_of([&] { verify_checkpoints(run.path()); }))) ::_exit(4);
  });
  ASSERT_EQ(::chmod(run.path().c_str(), 0700), 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(whole_steps(store), (Steps{10}));
}

TEST(Checkpoint, LinksToOtherDisksAreFollowedAndNeverRemovedThrough) {
  TemporaryFolder run, disk;
  fs::create_directory_symlink(disk.path(), run / "checkpoints");
  fs::create_directory(disk / "precious");
  write_bytes(disk / "precious/file", "x");
  CheckpointStore store(run.path(), 0, 1);
  save(store, 10);
  // A link in the place of a leftover is removed, not what it points to.
  fs::create_directory_symlink(disk / "precious", disk / "step-10/worker-0.tmp");
  save(store, 20);
  EXPECT_EQ(whole_steps(store), (Steps{20}));
  EXPECT_TRUE(fs::exists(disk / "step-20/worker-0"));
  EXPECT_EQ(read_bytes(disk / "precious/file"), "x");
}

TEST(Checkpoint, SettingsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(CheckpointStore("run", 0, 0), std::invalid_argument);
  EXPECT_THROW(CheckpointStore("run", -1, 1), std::invalid_argument);
  EXPECT_THROW(CheckpointStore("run", 0, 1).save(-1, {}, nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace thinwire::trainer
