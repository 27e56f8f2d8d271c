#include "launch/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>

namespace thinwire::launch {
namespace {

using namespace std::chrono_literals;
using Kind = LineWriter::Kind;

// A pipe, whose reader reads when told.
class LineWriterTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  void TearDown() override {
    for (const int end : ends_) {
      if (end >= 0) ::close(end);
    }
  }
  void close_reader() {
    ::close(ends_[0]);
    ends_[0] = -1;
  }
  std::string read_some() const {
    std::array<char, 65536> buffer;
    const ssize_t count = ::read(ends_[0], buffer.data(), buffer.size());
    return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
  }

  int ends_[2] = {-1, -1};
};

TEST_F(LineWriterTest, WritesInOrder) {
  LineWriter writer(ends_[1]);
  writer.write("a\n", Kind::kKept);
  writer.write("b\n", Kind::kPassing);
  writer.write("c\n", Kind::kKept);
  ASSERT_TRUE(writer.flush(20s));
  EXPECT_EQ(read_some(), "a\nb\nc\n");
}

TEST_F(LineWriterTest, WhileNobodyReadsProgressIsDroppedAndThePipeKeepsRoomForTheLastWords) {
  LineWriter writer(ends_[1]);
  const std::string progress(99, 'p');
  int dropped = 0;
  for (int i = 0; i < 10'000; ++i) {
    dropped += !writer.write(progress + "\n", Kind::kPassing);
    if (i % 100 == 0) writer.flush(20s);
  }
  EXPECT_GT(dropped, 9'000);
  EXPECT_TRUE(writer.write("the end\n", Kind::kKept));
  ASSERT_TRUE(writer.flush(20s)) << "nobody has read a byte";
  const std::string text = read_some();
  EXPECT_EQ(text.substr(text.size() - 8), "the end\n");
}

TEST_F(LineWriterTest, WhatIsKeptWaitsForTheReader) {
  LineWriter writer(ends_[1]);
  std::string expected;
  for (int i = 0; i < 5'000; ++i) {
    const std::string line = "line " + std::to_string(i) + std::string(40, '.') + "\n";
    ASSERT_TRUE(writer.write(line, Kind::kKept));
    expected += line;
  }
  EXPECT_FALSE(writer.flush(1ms));
  std::string text;
  while (text.size() < expected.size()) text += read_some();
  EXPECT_EQ(text, expected);
  EXPECT_TRUE(writer.flush(20s));
}

TEST_F(LineWriterTest, ItsMemoryIsBounded) {
  LineWriter writer(ends_[1]);
  const std::string line(1 << 16, 'x');
  int taken = 0;
  while (taken < 1'000 && writer.write(line, Kind::kKept)) ++taken;
  EXPECT_GT(taken, 10);
  EXPECT_LT(taken, 100);
  EXPECT_FALSE(writer.has_room());
}

TEST_F(LineWriterTest, AReaderThatIsGoneIsNoError) {
  close_reader();
  LineWriter writer(ends_[1]);
  for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(writer.write("text\n", Kind::kKept));
  EXPECT_TRUE(writer.flush(20s));
  EXPECT_TRUE(writer.has_room());
}

TEST_F(LineWriterTest, GoesThoughNobodyReads) {
  LineWriter writer(ends_[1]);
  writer.write(std::string(1 << 20, 'x'), Kind::kKept);
  EXPECT_FALSE(writer.flush(1ms));
}

}  // namespace
}  // namespace thinwire::launch
