#include "launch/launch_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "trainer/format/manifest.h"

namespace thinwire::launch {
namespace {

using testing::HasSubstr;

class LaunchRecordTest : public testing::Test {
 protected:
  void SetUp() override {
    run_ = testing::TempDir() + "/launch_record_" + std::to_string(::getpid());
    std::filesystem::create_directories(run_);
  }
  void TearDown() override { std::filesystem::remove_all(run_); }

  std::string path() const { return run_ + "/launch.json"; }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
  }
  std::string problem() const {
    try {
      read_launch_record(run_);
      return "";
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }
  void write_manifest(int step, int worker, int workers) const {
    trainer::Manifest manifest{
        .step = step, .worker = worker, .files = {}, .meta = {{"workers", workers}}, .tensors = {}};
    write(manifest_path(step, worker), trainer::to_text(manifest));
  }
  std::string manifest_path(int step, int worker) const {
    return run_ + "/checkpoints/step-" + std::to_string(step) + "/worker-" + std::to_string(worker) +
           "/manifest.json";
  }

  std::string run_;
};

TEST_F(LaunchRecordTest, ComesBack) {
  Job job;
  job.hosts = "/etc/hosts.txt";
  write(path(), launch_record_text(job, 3));
  EXPECT_EQ(read_launch_record(run_).workers, 3);
  EXPECT_EQ(read_launch_record(run_).hosts, "/etc/hosts.txt");
}

TEST_F(LaunchRecordTest, OneThatIsMissingNamesNoNumberOfWorkers) {
  EXPECT_EQ(read_launch_record(run_).workers, 0);
}

TEST_F(LaunchRecordTest, ADamagedOneIsNamed) {
  for (const char* text : {"", "{", "{\"workers\": ", "[]", "{\"workers\": \"2\"}", "{\"workers\": 0}",
                           "{\"workers\": 2, \"hosts\": 3}", "\xff"}) {
    write(path(), text);
    EXPECT_THAT(problem(), HasSubstr(path() + ": expected")) << text;
  }
}

TEST_F(LaunchRecordTest, APipeOrFolderInItsPlaceIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_THAT(problem(), HasSubstr(path()));
  std::filesystem::remove(path());
  std::filesystem::create_directories(path());
  EXPECT_THAT(problem(), HasSubstr(path()));
}

TEST_F(LaunchRecordTest, TheNewestReadableCheckpointSaysHowManyWorkers) {
  EXPECT_FALSE(workers_of_checkpoints(run_));
  write_manifest(9, 0, 2);
  write_manifest(10, 1, 4);
  EXPECT_EQ(workers_of_checkpoints(run_), 4);
  write(manifest_path(10, 1), "{");
  EXPECT_EQ(workers_of_checkpoints(run_), 2) << "the damaged one is passed over";
  std::filesystem::create_directories(run_ + "/checkpoints/step-x/worker-0");
  EXPECT_EQ(workers_of_checkpoints(run_), 2);
}

}  // namespace
}  // namespace thinwire::launch
