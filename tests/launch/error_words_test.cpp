#include "launch/error_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "comm/errors.h"
#include "launch/config/config.h"
#include "launch/errors.h"

namespace thinwire::launch {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string words(const std::string& text) {
  return words_of(std::runtime_error(text));
}

TEST(ErrorWords, StackFramesOfLibTorchDoNotReachAUser) {
  EXPECT_EQ(
      words("size mismatch\nException raised from check at ../aten/src/x.cpp:12 (most recent call first):\n"
            "frame #0: c10::Error::Error(...) + 0x9 (0x7f in lib.so)\nframe #1: f\n"),
      "size mismatch");
  EXPECT_EQ(words("size mismatch (f at x.cpp:1)\nframe #0: f"), "size mismatch (f at x.cpp:1)");
  EXPECT_EQ(words("no file\nsecond line"), "no file\nsecond line");
}

TEST(ErrorWords, AJsonLibrarysCodesDoNotReachAUser) {
  try {
    [[maybe_unused]] const int number = nlohmann::json(nullptr).get<int>();
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), HasSubstr("json.exception"));
    EXPECT_THAT(words_of(error), Not(HasSubstr("json.exception")));
    EXPECT_THAT(words_of(error), HasSubstr("type must be number, but is null"));
  }
}

TEST(ErrorWords, MemoryThatIsNotThereIsSaidPlainly) {
  EXPECT_THAT(words_of(std::bad_alloc()), HasSubstr("out of memory"));
  EXPECT_EQ(words("[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: "
                  "you tried "
                  "to allocate 4096 bytes. Error code 12 (Cannot allocate memory)"),
            "out of memory: 4096 bytes more were asked for; a smaller model, batch or sequence needs less");
}

TEST(ErrorWords, AFileSystemsErrorNamesWhatAndWhere) {
  const std::error_code there = std::make_error_code(std::errc::file_exists);
  EXPECT_EQ(words_of(std::filesystem::filesystem_error("cannot create directories", "run", there)),
            "cannot create directories run: File exists");
  EXPECT_EQ(words_of(std::filesystem::filesystem_error("cannot rename", "a", "b", there)),
            "cannot rename a and b: File exists");
}

TEST(ErrorWords, ExitCodesFollowFromWhatWentWrong) {
  EXPECT_EQ(exit_code_of(std::runtime_error("x")), kRunFailed);
  EXPECT_EQ(exit_code_of(std::invalid_argument("x")), kUsage);
  EXPECT_EQ(exit_code_of(ConfigError("x")), kUsage);
  EXPECT_EQ(exit_code_of(UsageError("x")), kUsage);
  EXPECT_EQ(exit_code_of(JobFailed("x", 143)), 143);
}

TEST(ErrorWords, ABrokenWorldIsAConsequence) {
  EXPECT_TRUE(is_consequence(comm::CommError(comm::CommError::Kind::kPeerLost, "x")));
  EXPECT_FALSE(is_consequence(std::runtime_error("x")));
}

}  // namespace
}  // namespace thinwire::launch
