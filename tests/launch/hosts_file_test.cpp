#include "launch/launcher/hosts_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launch/errors.h"

namespace thinwire::launch {
namespace {

using testing::HasSubstr;

class HostsFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/hosts_test_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/hosts.txt"; }
  std::string problem_of(const std::string& text) const {
    std::ofstream(path()) << text;
    try {
      checked_hosts_file(path());
      return "";
    } catch (const UsageError& error) {
      return error.what();
    }
  }

  std::string folder_;
};

TEST_F(HostsFile, TakesWhatMpirunTakes) {
  EXPECT_EQ(problem_of("# hosts\n\nparis slots=2\n  tokyo slots = 2 max_slots=4 # fast\r\n10.0.0.1\n"
                       "me@berlin slots=1\n"),
            "");
}

TEST_F(HostsFile, ALineThatIsNoHostIsNamedByNumber) {
  EXPECT_THAT(problem_of("paris slots=2\ntokyo lots=2\n"), HasSubstr("hosts.txt:2: expected"));
  EXPECT_THAT(problem_of("paris slots=2\ntokyo lots=2\n"), HasSubstr("\"lots=2\""));
  EXPECT_THAT(problem_of("paris slots=two\n"), HasSubstr("expected slots=NUMBER"));
  EXPECT_THAT(problem_of("paris slots\n"), HasSubstr("hosts.txt:1"));
  EXPECT_THAT(problem_of("paris, tokyo\n"), HasSubstr("\"paris,\""));
  EXPECT_THAT(problem_of("slots=2 paris\n"), HasSubstr("hosts.txt:1"));
}

TEST_F(HostsFile, AFileWithoutAHostIsRefused) {
  EXPECT_THAT(problem_of(""), HasSubstr("found no line with a host"));
  EXPECT_THAT(problem_of("# nothing\n"), HasSubstr("found no line with a host"));
}

TEST_F(HostsFile, OneThatIsGoneOrNoPlainFileNamesTheWayOut) {
  for (const bool fifo : {false, true}) {
    if (fifo) {
      ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
    }
    try {
      checked_hosts_file(path());
      FAIL();
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr(path()));
      EXPECT_THAT(error.what(), HasSubstr("--hosts"));
    }
  }
}

TEST_F(HostsFile, ItsPathBecomesAbsolute) {
  std::ofstream(path()) << "paris\n";
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  const std::string absolute = checked_hosts_file("./hosts.txt");
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::equivalent(absolute, path()));
  EXPECT_EQ(absolute.front(), '/');
}

}  // namespace
}  // namespace thinwire::launch
