from tests.core_support import X
def test_a():
    assert X==1
    import tests.core_support, sys
    print(sys.modules['tests'].__path__)
